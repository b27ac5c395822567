//! How often this process has made another one that inherits descriptors.
//!
//! A socket is ours alone only if nobody was being made when it was, and nobody
//! has been since. Two counts for each way of making a process: begun and done.
//! Unequal means that one is being made this moment.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// fork(2) and its kin: the child keeps every descriptor.
pub(crate) static FORKS: Count = Count::new();
/// Spawns: the child keeps what is not close-on-exec.
pub(crate) static SPAWNS: Count = Count::new();

static LAST_CHILD: AtomicI32 = AtomicI32::new(0);

/// The order of the fields is known to the assembly in `hooks::twice`.
#[repr(C)]
pub(crate) struct Count {
    begun: AtomicU32,
    done: AtomicU32,
}

impl Count {
    const fn new() -> Self {
        Self {
            begun: AtomicU32::new(1),
            done: AtomicU32::new(1),
        }
    }

    fn settled(&self) -> u32 {
        let done = self.done.load(Ordering::SeqCst);
        if self.begun.load(Ordering::SeqCst) == done {
            done
        } else {
            0
        }
    }

    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn finish(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
    }
}

/// A moment; its counts are zero while a process is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) forks: u32,
    pub(crate) spawns: u32,
}

/// Now.
pub(crate) fn now() -> Moment {
    Moment {
        forks: FORKS.settled(),
        spawns: SPAWNS.settled(),
    }
}

/// Before a fork.
pub(crate) fn fork_begins() {
    FORKS.begin();
}

/// After a fork, in the parent.
pub(crate) fn fork_is_done() {
    FORKS.finish();
}

/// The child that was forked; negative if none was.
pub(crate) fn forked(child: c_int) {
    LAST_CHILD.store(child.max(0), Ordering::Relaxed);
}

/// The child most recently forked; zero if none was.
pub(crate) fn last_child() -> c_int {
    LAST_CHILD.load(Ordering::Relaxed)
}

/// After a fork, in the child: whatever other threads were doing ended with them.
pub(crate) fn start_as_child() {
    let begun = FORKS.begun.load(Ordering::SeqCst);
    FORKS.done.store(begun, Ordering::SeqCst);
    let begun = SPAWNS.begun.load(Ordering::SeqCst);
    SPAWNS.done.store(begun, Ordering::SeqCst);
}

/// Before a spawn.
pub(crate) fn spawn_begins() {
    SPAWNS.begin();
}

/// After a spawn, in the parent.
pub(crate) fn spawn_is_done() {
    SPAWNS.finish();
}
