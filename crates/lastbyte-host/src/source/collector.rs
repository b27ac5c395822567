//! A thread that does nothing but take what the kernel tells before its buffers
//! overflow: that of an ordinary user holds some 300 obituaries.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::destroy::Destroyed;
use super::tracepoints::Tracepoints;
use super::{check, clock};
use crate::parse::inet_diag::Socket;
use crate::parse::netlink;
use crate::parse::trace::Trace;
use crate::process::Process;

/// Obituaries kept for a slow consumer; some 30 MB.
const OBITUARIES: usize = 1 << 17;
/// Steps kept for a slow consumer; some 50 MB.
const TRACES: usize = 1 << 19;
/// With room for it in the kernel's buffers, they are emptied this far apart: one
/// wake-up for many.
const BATCH: Duration = Duration::from_millis(10);
const ROOM_FOR_BATCHES: usize = 8 << 20;

/// What the kernel told in a moment. The steps are to be taken into account
/// first: each fires before its socket's obituary is written.
#[derive(Debug, Default)]
pub struct Batch {
    /// Steps, in the order of time.
    pub traces: Vec<(u64, Trace, Process)>,
    /// Obituaries and when they came, in the order they came.
    pub obituaries: Vec<(u64, Socket)>,
}

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
    batches: VecDeque<Batch>,
    obituaries: usize,
    traces: usize,
    overruns: u64,
    lost_traces: u64,
    failed: Option<io::Error>,
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

    /// The oldest batch, after waiting for one at most `wait`.
    ///
    /// # Errors
    ///
    /// The kernel's socket broke.
    pub fn take(&self, wait: Duration) -> io::Result<Option<Batch>> {
        let empty = |queue: &mut Queue| queue.batches.is_empty() && queue.failed.is_none();
        let (mut queue, _) = self
            .shared
            .more
            .wait_timeout_while(self.shared.lock(), wait, empty)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = queue.failed.take() {
            return Err(error);
        }
        let batch = queue.batches.pop_front();
        if let Some(batch) = &batch {
            queue.obituaries -= batch.obituaries.len();
            queue.traces -= batch.traces.len();
        }
        Ok(batch)
    }

    /// How often obituaries, and how many steps, were dropped so far: by the
    /// kernel, or here because they were not taken.
    #[must_use]
    pub fn losses(&self) -> (u64, u64) {
        let queue = self.shared.lock();
        (queue.overruns, queue.lost_traces)
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
    hurry();
    let in_batches = destroyed.room() >= ROOM_FOR_BATCHES;
    while !wait(&destroyed, tracepoints.as_ref(), stop) {
        let mut batch = Batch::default();
        let at = clock::monotonic();
        // Obituaries first: the steps that led to them are in the rings then.
        let drained = destroyed.drain(|datagram| {
            for message in netlink::messages(datagram) {
                if let Some(socket) = Socket::parse(message.payload) {
                    batch.obituaries.push((at, socket));
                }
            }
        });
        let mut lost_traces = 0;
        if let Some(tracepoints) = &mut tracepoints {
            tracepoints.drain(|at, trace, process| batch.traces.push((at, *trace, process)));
            lost_traces = tracepoints.lost();
        }
        let mut queue = shared.lock();
        match drained {
            Ok(drained) => queue.overruns += drained.overruns,
            Err(error) => queue.failed = Some(error),
        }
        if queue.obituaries + batch.obituaries.len() > OBITUARIES {
            queue.overruns += 1;
            batch.obituaries = Vec::new();
        }
        if queue.traces + batch.traces.len() > TRACES {
            lost_traces += batch.traces.len() as u64;
            batch.traces = Vec::new();
        }
        queue.lost_traces += lost_traces;
        queue.obituaries += batch.obituaries.len();
        queue.traces += batch.traces.len();
        let failed = queue.failed.is_some();
        if !batch.obituaries.is_empty() || !batch.traces.is_empty() {
            queue.batches.push_back(batch);
        }
        drop(queue);
        shared.more.notify_one();
        if failed {
            return;
        }
        if in_batches {
            thread::sleep(BATCH);
        }
    }
}

/// Asks to run before others: this thread needs little, but soon. Root only.
fn hurry() {
    const NICE: libc::c_int = -10;
    // SAFETY: plain system call; 0 is the calling thread. Refused, things stay
    // as they are.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// Waits for something to read; whether it is time to stop instead.
fn wait(destroyed: &Destroyed, tracepoints: Option<&Tracepoints>, stop: &OwnedFd) -> bool {
    // Steps alone do not wake anybody before a ring is a quarter full.
    const AT_MOST_MS: libc::c_int = 50;
    let rings = tracepoints.into_iter().flat_map(Tracepoints::rings);
    let mut fds: Vec<libc::pollfd> = [stop.as_fd(), destroyed.as_fd()]
        .into_iter()
        .chain(rings.map(AsFd::as_fd))
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let timeout = if tracepoints.is_some() {
        AT_MOST_MS
    } else {
        -1
    };
    // SAFETY: `fds` is valid for its length.
    unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    fds[0].revents != 0
}
