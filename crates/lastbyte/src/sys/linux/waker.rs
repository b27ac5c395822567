//! A descriptor that another thread makes readable: eventfd(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just created, and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn wake(&self) {
        let one = 1u64;
        // SAFETY: eight bytes of a live u64 are read. It fails only when the
        // counter is full, and then the descriptor is readable already.
        unsafe {
            libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8);
        }
    }

    /// Unreadable until the next [`wake`](Self::wake).
    pub(crate) fn reset(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes are written to a live u64. It fails only when the
        // counter is zero already.
        unsafe {
            libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8);
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
