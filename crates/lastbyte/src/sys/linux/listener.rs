//! What a server's listening socket is asked and told.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::info::Info;

/// Connections that are complete and not accepted yet. None where the kernel does not
/// say.
pub(crate) fn backlog(listener: BorrowedFd<'_>) -> Option<usize> {
    let backlog = Info::of(listener).ok()?.backlog()?;
    usize::try_from(backlog).ok()
}

/// Ends a listener for all who have its descriptor: it accepts nothing any more, and
/// resets what it has not accepted (shutdown(2)).
pub(crate) fn stop_listening(listener: BorrowedFd<'_>) {
    // SAFETY: no pointers are passed.
    unsafe {
        libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR);
    }
}
