//! A thread that does nothing but take what the kernel tells before its buffers
//! overflow: that of an ordinary user holds some 300 obituaries.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::backlog::{Backlog, Batch, Dropped};
use super::destroy::Destroyed;
use super::tracepoints::{Missed, Tracepoints};
use super::{check, clock, hurry};
use crate::parse::inet_diag::Socket;
use crate::parse::netlink;

/// The kernel's buffers are emptied this far apart, one wake-up for many, where they
/// have room for it; otherwise as much sooner as they have less.
const BATCH: Duration = Duration::from_millis(10);
const ROOM_FOR_BATCH: usize = 8 << 20;

/// The thread, and what it has taken.
#[derive(Debug)]
pub struct Collector {
    shared: Arc<Shared>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    backlog: Backlog,
    /// When everything was collected last.
    collected: u64,
    failed: Option<io::Error>,
}

/// What there is to take.
#[derive(Debug)]
pub enum Taken {
    /// The oldest batch.
    Batch(Batch),
    /// Nothing: all that happened up to this moment was taken.
    AllUpTo(u64),
}

impl Collector {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// No thread, or no descriptor, can be made.
    pub fn start(destroyed: Destroyed, tracepoints: Option<Tracepoints>) -> io::Result<Self> {
        // SAFETY: plain system call; the result is checked.
        let stop = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and nobody else has it.
        let stop = unsafe { OwnedFd::from_raw_fd(stop) };
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let stopped = stop.try_clone()?;
        let thread = thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || collect(destroyed, tracepoints, &theirs, &stopped))?;
        Ok(Self {
            shared,
            stop,
            thread: Some(thread),
        })
    }

    /// The oldest batch, after waiting for one for at most `wait`.
    ///
    /// # Errors
    ///
    /// The kernel's socket broke.
    pub fn take(&self, wait: Duration) -> io::Result<Taken> {
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

    /// How many obituaries, and how many steps, were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> (Dropped, Dropped) {
        let backlog = &self.shared.lock().backlog;
        (backlog.dropped_obituaries, backlog.dropped_steps)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let one = 1u64;
        // SAFETY: eight bytes, as an eventfd wants them.
        unsafe { libc::write(self.stop.as_raw_fd(), (&raw const one).cast(), 8) };
        if let Some(thread) = self.thread.take() {
            // Its panic was told when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn collect(
    mut destroyed: Destroyed,
    mut tracepoints: Option<Tracepoints>,
    shared: &Shared,
    stop: &OwnedFd,
) {
    hurry::hurry();
    let room = destroyed.room().min(ROOM_FOR_BATCH);
    let rest = BATCH.mul_f64(room as f64 / ROOM_FOR_BATCH as f64);
    let mut more = false;
    while !wait(&destroyed, tracepoints.as_ref(), stop, more) {
        let (mut steps, mut obituaries) = (Vec::new(), Vec::new());
        let at = clock::monotonic();
        // Obituaries first: the steps that led to them are in the rings then.
        let drained = destroyed.drain(|datagram| {
            for message in netlink::messages(datagram) {
                if let Some(socket) = Socket::parse(message.payload) {
                    obituaries.push((at, socket));
                }
            }
        });
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
        queue.backlog.push(at, steps, obituaries, missed, unseen);
        queue.collected = at;
        let failed = queue.failed.is_some();
        drop(queue);
        shared.more.notify_one();
        if failed {
            return;
        }
        // Never without a rest: nobody else may run before this thread.
        thread::sleep(if more { rest / 10 } else { rest });
    }
}

/// Waits for something to read; whether it is time to stop instead.
/// `more` is there to read already.
fn wait(
    destroyed: &Destroyed,
    tracepoints: Option<&Tracepoints>,
    stop: &OwnedFd,
    more: bool,
) -> bool {
    // Steps alone do not wake anybody before a ring is a quarter full.
    const AT_MOST_MS: libc::c_int = 50;
    let rings = tracepoints.into_iter().flat_map(Tracepoints::rings);
    let mut fds: Vec<libc::pollfd> = std::iter::once(stop.as_fd())
        .chain(destroyed.fds())
        .chain(rings.map(AsFd::as_fd))
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let timeout = match tracepoints {
        _ if more => 0,
        Some(_) => AT_MOST_MS,
        None => -1,
    };
    // SAFETY: `fds` is valid for its length.
    unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    fds[0].revents != 0
}
