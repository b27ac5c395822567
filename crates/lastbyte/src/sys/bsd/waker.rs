//! A descriptor that another thread makes readable: a pair of sockets, which all of these
//! systems have (OpenBSD's kqueue has no EVFILT_USER).

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

pub(crate) struct Waker {
    wakes: UnixStream,
    woken: UnixStream,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let (wakes, woken) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        Ok(Self { wakes, woken })
    }

    /// It fails only when the queue is full, and then the descriptor is readable already.
    pub(crate) fn wake(&self) {
        let _ = (&self.wakes).write(&[1]);
    }

    /// Unreadable until the next [`wake`](Self::wake).
    pub(crate) fn reset(&self) {
        while (&self.woken).read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}
