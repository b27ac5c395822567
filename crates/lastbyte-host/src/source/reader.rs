//! A thread that does nothing but take obituaries from the kernel, whose buffer
//! for an ordinary user holds some 300 of them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::destroy::Destroyed;
use super::{check, clock};
use crate::parse::inet_diag::Socket;
use crate::parse::netlink;

/// Obituaries kept for a slow consumer; 60 MB.
const QUEUE: usize = 1 << 18;
/// With room for it in the kernel's buffer, obituaries are taken in batches this
/// far apart: one wake-up for many.
const BATCH: Duration = Duration::from_millis(10);
const ROOM_FOR_BATCHES: usize = 8 << 20;

/// The thread, and what it has taken.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    taken: Mutex<Taken>,
    more: Condvar,
}

/// What was taken since the last look.
#[derive(Debug, Default)]
pub struct Taken {
    /// Obituaries, and when they came, in the order they came.
    pub obituaries: Vec<(u64, Socket)>,
    /// Times that some were dropped, by the kernel or for want of room here.
    pub overruns: u64,
    failed: Option<io::Error>,
}

impl Reader {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// No thread, or no descriptor, can be made.
    pub fn start(destroyed: Destroyed) -> io::Result<Self> {
        // SAFETY: plain system call; the result is checked.
        let stop = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and nobody else has it.
        let stop = unsafe { OwnedFd::from_raw_fd(stop) };
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let stopped = stop.try_clone()?;
        let thread = thread::Builder::new()
            .name("obituaries".to_owned())
            .spawn(move || take_all(destroyed, &theirs, &stopped))?;
        Ok(Self {
            shared,
            stop,
            thread: Some(thread),
        })
    }

    /// Takes what has come, after waiting for it at most `wait`.
    ///
    /// # Errors
    ///
    /// The kernel's socket broke.
    pub fn take(&self, wait: Duration) -> io::Result<Taken> {
        let empty = |taken: &mut Taken| taken.obituaries.is_empty() && taken.failed.is_none();
        let (mut taken, _) = self
            .shared
            .more
            .wait_timeout_while(self.shared.lock(), wait, empty)
            .unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *taken);
        match taken.failed {
            Some(error) => Err(error),
            None => Ok(taken),
        }
    }
}

impl Drop for Reader {
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
    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing that can panic runs under the lock.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_all(mut destroyed: Destroyed, shared: &Shared, stop: &OwnedFd) {
    let batch = destroyed.room() >= ROOM_FOR_BATCHES;
    let mut batch_of = Vec::new();
    loop {
        if wait(&destroyed, stop) {
            return;
        }
        let at = clock::monotonic();
        let drained = destroyed.drain(|datagram| {
            for message in netlink::messages(datagram) {
                if let Some(socket) = Socket::parse(message.payload) {
                    batch_of.push((at, socket));
                }
            }
        });
        let mut taken = shared.lock();
        match drained {
            Ok(drained) => taken.overruns += drained.overruns,
            Err(error) => {
                taken.failed = Some(error);
                shared.more.notify_one();
                return;
            }
        }
        if taken.obituaries.len() + batch_of.len() > QUEUE {
            taken.overruns += 1;
            batch_of.clear();
        }
        taken.obituaries.append(&mut batch_of);
        drop(taken);
        shared.more.notify_one();
        if batch {
            thread::sleep(BATCH);
        }
    }
}

/// Waits for obituaries; whether it is time to stop instead.
fn wait(destroyed: &Destroyed, stop: &OwnedFd) -> bool {
    let mut fds = [destroyed.as_fd().as_raw_fd(), stop.as_raw_fd()].map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: two descriptors, both open.
    unsafe { libc::poll(fds.as_mut_ptr(), 2, -1) };
    fds[1].revents != 0
}
