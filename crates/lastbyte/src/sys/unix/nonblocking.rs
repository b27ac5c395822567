//! O_NONBLOCK.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Returns whether the program asked never to be blocked on this socket.
///
/// # Errors
/// Those of fcntl(2).
pub(crate) fn is_nonblocking(socket: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: F_GETFL takes no pointer.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    if flags == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(flags & libc::O_NONBLOCK != 0)
}
