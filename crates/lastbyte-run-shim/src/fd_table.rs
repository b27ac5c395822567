//! What is known of each descriptor: one entry a number, atomics only.
//!
//! An entry is a belief, not a fact: programs can get at descriptors behind our
//! back. So it carries the socket's cookie, and whoever acts on it compares.
//! Every doubt makes an entry weaker, never stronger.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use crate::epoch::Moment;
use crate::sys;

/// Descriptors beyond this are never known. The table is zero pages until used.
const ROOM: usize = 1 << 18;

static TABLE: [Entry; ROOM] = [const { Entry::new() }; ROOM];
static HIGHEST: AtomicI32 = AtomicI32::new(-1);

/// Made here, and TCP.
const TCP: u32 = 1;
/// Known to be something else.
const OTHER: u32 = 2;
/// Closed on exec since it was made.
const CLOEXEC: u32 = 4;
/// Another descriptor may mean the same socket.
const SHARED: u32 = 8;
/// In more epoll sets than an entry has room for.
const CROWDED: u32 = 16;
/// The reading side was shut here.
const READ_NO_MORE: u32 = 32;
/// Our filter was attached here.
const TRIMMED: u32 = 64;
/// Made here, and MPTCP.
const MPTCP: u32 = 128;
/// Its connection was counted as one that the kernel ends.
const COUNTED: u32 = 256;
/// An io_uring that is looked at.
const RING: u32 = 512;

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// A TCP socket.
    Tcp,
    /// An MPTCP socket.
    Mptcp,
    /// Something else.
    Other,
}

/// One descriptor.
pub(crate) struct Entry {
    cookie: AtomicU64,
    forks: AtomicU32,
    spawns: AtomicU32,
    flags: AtomicU32,
    /// Epoll sets the descriptor was added to, plus one; zero is free.
    sets: [AtomicI32; 3],
}

impl Entry {
    const fn new() -> Self {
        Self {
            cookie: AtomicU64::new(0),
            forks: AtomicU32::new(0),
            spawns: AtomicU32::new(0),
            flags: AtomicU32::new(0),
            sets: [const { AtomicI32::new(0) }; 3],
        }
    }

    /// Made here, and not TCP.
    pub(crate) fn is_other(&self) -> bool {
        self.flags.load(Ordering::Acquire) & OTHER != 0
    }

    /// Made here, and TCP.
    pub(crate) fn is_tcp(&self) -> bool {
        self.flags.load(Ordering::Acquire) & TCP != 0
    }

    /// An io_uring that is looked at.
    pub(crate) fn is_ring(&self) -> bool {
        self.flags.load(Ordering::Acquire) & RING != 0
    }

    /// Made here, and MPTCP.
    pub(crate) fn is_mptcp(&self) -> bool {
        self.flags.load(Ordering::Acquire) & MPTCP != 0
    }

    /// Takes note that the connection was counted. False if it was before.
    pub(crate) fn count_once(&self) -> bool {
        self.flags.fetch_or(COUNTED, Ordering::AcqRel) & COUNTED == 0
    }

    /// Whether nobody else can hold the socket that has this cookie, by all that
    /// was seen.
    pub(crate) fn is_ours_alone(&self, cookie: u64, now: Moment) -> bool {
        let flags = self.flags.load(Ordering::Acquire);
        let forks = self.forks.load(Ordering::Relaxed);
        let spawns = self.spawns.load(Ordering::Relaxed);
        flags & (TCP | MPTCP) != 0
            && flags & SHARED == 0
            && self.cookie.load(Ordering::Relaxed) == cookie
            && forks != 0
            && forks == now.forks
            && (flags & CLOEXEC != 0 || spawns != 0 && spawns == now.spawns)
    }

    /// Whether the reading side was shut here.
    pub(crate) fn is_read_no_more(&self) -> bool {
        self.flags.load(Ordering::Acquire) & READ_NO_MORE != 0
    }

    /// Whether our filter was attached here.
    pub(crate) fn is_trimmed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & TRIMMED != 0
    }

    /// Whether every epoll set the descriptor is in is known.
    pub(crate) fn sets_are_known(&self) -> bool {
        self.flags.load(Ordering::Acquire) & CROWDED == 0
    }

    /// Whether the descriptor is in an epoll set.
    pub(crate) fn is_in_a_set(&self) -> bool {
        !self.sets_are_known() || self.sets.iter().any(|set| set.load(Ordering::Acquire) != 0)
    }

    /// Takes the descriptor out of its epoll sets.
    pub(crate) fn leave_sets(&self, fd: c_int) {
        for set in &self.sets {
            let set = set.swap(0, Ordering::AcqRel);
            if set != 0 {
                // A set that was closed since fails, and then there is nothing to leave.
                let _ = sys::epoll_delete(set - 1, fd);
            }
        }
    }

    fn clear(&self) {
        self.flags.store(0, Ordering::Release);
        self.cookie.store(0, Ordering::Relaxed);
        for set in &self.sets {
            set.store(0, Ordering::Relaxed);
        }
    }
}

/// The entry of `fd`.
pub(crate) fn entry(fd: c_int) -> Option<&'static Entry> {
    TABLE.get(usize::try_from(fd).ok()?)
}

/// The highest descriptor that has had an entry.
pub(crate) fn highest() -> c_int {
    HIGHEST.load(Ordering::Relaxed)
}

/// A descriptor was made; `before` is a moment before it was.
pub(crate) fn made(fd: c_int, what: Made, cloexec: bool, before: Moment) {
    let Some(entry) = entry(fd) else { return };
    entry.clear();
    let kind = match what {
        Made::Tcp => TCP,
        Made::Mptcp => MPTCP,
        Made::Other => return made_other(fd),
    };
    let Ok(cookie) = sys::cookie(fd) else { return };
    entry.cookie.store(cookie, Ordering::Relaxed);
    entry.forks.store(before.forks, Ordering::Relaxed);
    entry.spawns.store(before.spawns, Ordering::Relaxed);
    let flags = if cloexec { kind | CLOEXEC } else { kind };
    entry.flags.store(flags, Ordering::Release);
    HIGHEST.fetch_max(fd, Ordering::Relaxed);
}

/// Something else than a connection was made.
pub(crate) fn made_other(fd: c_int) {
    if let Some(entry) = entry(fd) {
        entry.clear();
        entry.flags.store(OTHER, Ordering::Release);
        HIGHEST.fetch_max(fd, Ordering::Relaxed);
    }
}

/// An io_uring was made that is looked at.
pub(crate) fn made_ring(fd: c_int) {
    made_other(fd);
    if let Some(entry) = entry(fd) {
        entry.flags.fetch_or(RING, Ordering::AcqRel);
    }
}

/// `fd` now means something that nothing is known of.
pub(crate) fn forget(fd: c_int) {
    if let Some(entry) = entry(fd)
        && (entry.flags.load(Ordering::Relaxed) != 0 || entry.is_in_a_set())
    {
        entry.clear();
    }
}

/// The socket of `fd` may have another holder from now on.
pub(crate) fn shared(fd: c_int) {
    if let Some(entry) = entry(fd) {
        entry.flags.fetch_or(SHARED, Ordering::AcqRel);
        HIGHEST.fetch_max(fd, Ordering::Relaxed);
    }
}

/// The reading side of `fd` was shut.
pub(crate) fn reads_no_more(fd: c_int) {
    if let Some(entry) = entry(fd) {
        entry.flags.fetch_or(READ_NO_MORE, Ordering::AcqRel);
    }
}

/// Our filter was attached to `fd`.
pub(crate) fn trimmed(fd: c_int) {
    if let Some(entry) = entry(fd) {
        entry.flags.fetch_or(TRIMMED, Ordering::AcqRel);
    }
}

/// `fd` is no longer closed on exec, whatever it was.
pub(crate) fn survives_exec(fd: c_int) {
    if let Some(entry) = entry(fd) {
        entry.flags.fetch_and(!CLOEXEC, Ordering::AcqRel);
    }
}

/// `fd` is closed on exec from now on, which counts if it was not spawned yet.
pub(crate) fn closes_on_exec(fd: c_int, now: Moment) {
    if let Some(entry) = entry(fd)
        && entry.flags.load(Ordering::Acquire) & (TCP | MPTCP) != 0
        && now.spawns != 0
        && entry.spawns.load(Ordering::Relaxed) == now.spawns
    {
        entry.flags.fetch_or(CLOEXEC, Ordering::AcqRel);
    }
}

/// `fd` is about to be added to the epoll set `set`.
pub(crate) fn joins_set(fd: c_int, set: c_int) {
    let Some(entry) = entry(fd) else { return };
    let mark = set.wrapping_add(1);
    for place in &entry.sets {
        match place.compare_exchange(0, mark, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(there) if there == mark => return,
            Err(_) => {}
        }
    }
    entry.flags.fetch_or(CROWDED, Ordering::AcqRel);
}

/// `fd` was taken out of the epoll set `set`.
pub(crate) fn left_set(fd: c_int, set: c_int) {
    let Some(entry) = entry(fd) else { return };
    let mark = set.wrapping_add(1);
    for place in &entry.sets {
        let _ = place.compare_exchange(mark, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Whether there is anything to forget about `fd`.
pub(crate) fn knows(fd: c_int) -> bool {
    entry(fd).is_some_and(|entry| entry.flags.load(Ordering::Acquire) != 0 || entry.is_in_a_set())
}
