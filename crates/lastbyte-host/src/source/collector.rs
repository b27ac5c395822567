//! A thread that does nothing but take what the kernel tells before its buffers
//! overflow: that of an ordinary user holds some 300 destroy notices.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lastbyte_tcp::destroyed::Drained;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::time::Timespec;

use super::backlog::{Backlog, Batch};
use super::destroy::Destroyed;
use super::steps::Missed;
use super::tracepoints::Tracepoints;
use super::{clock, priority};
use crate::losses::Dropped;
use crate::parse::inet_diag::Socket;

/// The kernel's buffers are emptied this far apart, one wake-up for many, where they
/// have room for it; otherwise as much sooner as they have less.
const BATCH: Duration = Duration::from_millis(10);
const ROOM_FOR_BATCH: usize = 8 << 20;

/// The thread, and what it has taken.
#[derive(Debug)]
pub(crate) struct Collector {
    shared: Arc<Shared>,
    waker: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changes: Mutex<Changes>,
    more: Condvar,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    backlog: Backlog,
    /// When everything was collected last.
    collected: u64,
    failed: Option<io::Error>,
}

/// Subscriptions that came, and the numbers of network namespaces whose went.
#[derive(Debug, Default)]
struct Changes {
    came: Vec<(u32, Destroyed)>,
    went: Vec<u32>,
}

/// What there is to take.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The oldest batch.
    Batch(Batch),
    /// Nothing: all that happened up to this moment was taken.
    AllUpTo(u64),
}

impl Collector {
    /// Starts the thread, with subscriptions by the watch's number of the network
    /// namespace each is of.
    ///
    /// # Errors
    ///
    /// No thread, or no descriptor, can be made.
    pub(crate) fn start(
        destroyed: Vec<(u32, Destroyed)>,
        tracepoints: Option<Tracepoints>,
    ) -> io::Result<Self> {
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let woken = waker.try_clone()?;
        let thread = thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || collect(destroyed, tracepoints, &theirs, &woken))?;
        Ok(Self {
            shared,
            waker,
            thread: Some(thread),
        })
    }

    /// The oldest batch, after waiting for one for at most `wait`.
    ///
    /// # Errors
    ///
    /// The kernel's socket broke.
    pub(crate) fn take(&self, wait: Duration) -> io::Result<Taken> {
        let empty = |queue: &mut Queue| queue.backlog.is_empty() && queue.failed.is_none();
        let (mut queue, _) = self
            .shared
            .more
            .wait_timeout_while(self.shared.lock(), wait, empty)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = queue.failed.take() {
            return Err(error);
        }
        Ok(match queue.backlog.pop(clock::monotonic()) {
            Some(batch) => Taken::Batch(batch),
            None => Taken::AllUpTo(queue.collected),
        })
    }

    /// Has it read more subscriptions, and others no more than once again.
    pub(crate) fn change(&self, came: Vec<(u32, Destroyed)>, went: &[u32]) {
        let mut changes = self.shared.changes();
        changes.came.extend(came);
        changes.went.extend(went);
        drop(changes);
        self.collect_now();
    }

    /// Has it collect at once, also where nothing seems to be there.
    pub(crate) fn collect_now(&self) {
        // Where it is full, the thread is woken already.
        let _ = rustix::io::write(&self.waker, &1u64.to_ne_bytes());
    }

    /// How many destroy notices, and how many steps, were dropped so far.
    #[must_use]
    pub(crate) fn dropped(&self) -> (Dropped, Dropped) {
        let backlog = &self.shared.lock().backlog;
        (backlog.dropped_notices, backlog.dropped_steps)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.collect_now();
        if let Some(thread) = self.thread.take() {
            // Its panic was told when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn changes(&self) -> MutexGuard<'_, Changes> {
        // Nothing that can panic runs under the lock.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn collect(
    mut destroyed: Vec<(u32, Destroyed)>,
    mut tracepoints: Option<Tracepoints>,
    shared: &Shared,
    waker: &OwnedFd,
) {
    priority::raise_priority();
    let mut more = false;
    loop {
        wait(&destroyed, tracepoints.as_ref(), waker, more);
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        let (mut steps, mut notices) = (Vec::new(), Vec::new());
        let at = clock::monotonic();
        let mut changes = std::mem::take(&mut *shared.changes());
        destroyed.append(&mut changes.came);
        // Destroy notices first: the steps that led to them are in the rings then.
        let drained = drain(&mut destroyed, |socket| notices.push((at, socket)));
        destroyed.retain(|(space, _)| !changes.went.contains(space));
        let missed = tracepoints.as_mut().map_or(Missed::default(), |t| {
            t.drain(|at, trace, process| steps.push((at, *trace, process)))
        });
        let mut queue = shared.lock();
        let unseen = match drained {
            Ok(drained) => {
                more = drained.more;
                drained.dropped
            }
            Err(error) => {
                queue.failed = Some(error);
                0
            }
        };
        queue.backlog.push(at, steps, notices, missed, unseen);
        queue.collected = at;
        let failed = queue.failed.is_some();
        drop(queue);
        shared.more.notify_one();
        if failed {
            return;
        }
        let rooms = destroyed.iter().map(|(_, destroyed)| destroyed.room());
        let room = rooms.min().unwrap_or(0).min(ROOM_FOR_BATCH);
        let rest = BATCH.mul_f64(room as f64 / ROOM_FOR_BATCH as f64);
        // Never without a rest: nobody else may run before this thread.
        thread::sleep(if more { rest / 10 } else { rest });
    }
}

/// Reads what has come to all of them.
fn drain(destroyed: &mut [(u32, Destroyed)], mut each: impl FnMut(Socket)) -> io::Result<Drained> {
    let mut all = Drained::default();
    for (space, destroyed) in destroyed {
        let space = *space;
        all.add(destroyed.drain(|socket| each(Socket { space, ..socket }))?);
    }
    Ok(all)
}

/// Waits for something to read, or the waker. `more` is there to read already.
fn wait(
    destroyed: &[(u32, Destroyed)],
    tracepoints: Option<&Tracepoints>,
    waker: &OwnedFd,
    more: bool,
) {
    let rings = tracepoints.into_iter().flat_map(Tracepoints::rings);
    let mut fds: Vec<PollFd<'_>> = std::iter::once(waker.as_fd())
        .chain(destroyed.iter().flat_map(|(_, destroyed)| destroyed.fds()))
        .chain(rings.map(AsFd::as_fd))
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    let timeout_ms = match tracepoints {
        _ if more => 0,
        // Steps alone do not wake anybody before a ring is a quarter full.
        Some(_) => 50,
        // That there was nothing is news as well.
        None => 500,
    };
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: timeout_ms * 1_000_000,
    };
    // Interrupted, or short of memory: what is there is read all the same.
    let _ = poll(&mut fds, Some(&timeout));
    // It never blocks; there may be nothing to clear.
    let _ = rustix::io::read(waker, &mut [0u8; 8]);
}
