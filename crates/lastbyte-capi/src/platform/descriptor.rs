//! Descriptors and errno.

pub(crate) use std::os::fd::{AsFd as AsSocket, OwnedFd as OwnedSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};

use libc::c_int;

use crate::closing::lb_closing;
use crate::guard::call;

/// The error numbers that this crate makes itself.
pub(crate) mod code {
    pub(crate) use libc::{EBADF, EINVAL, EIO, ENOMEM, ENOTRECOVERABLE, ETIMEDOUT, EWOULDBLOCK};
}

/// A socket: its descriptor.
pub type lb_socket = c_int;

pub(crate) fn leave_error(error: c_int) {
    // SAFETY: this thread's errno, always valid.
    unsafe { *libc::__errno_location() = error };
}

/// The socket, if it is one that is open.
pub(crate) fn own(socket: lb_socket) -> Result<OwnedSocket, c_int> {
    if socket < 0 {
        return Err(code::EBADF);
    }
    // SAFETY: no memory involved.
    if unsafe { libc::fcntl(socket, libc::F_GETFD) } < 0 {
        return Err(code::EBADF);
    }
    // SAFETY: open, and the caller gives it to us; refusals give it back.
    Ok(unsafe { OwnedSocket::from_raw_fd(socket) })
}

/// Leaves the socket to the caller again.
pub(crate) fn give_back(socket: OwnedSocket) {
    let _ = socket.into_raw_fd();
}

/// Whether the program asked never to be blocked.
pub(crate) fn is_nonblocking(socket: &OwnedSocket) -> bool {
    // SAFETY: no memory involved.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    flags & libc::O_NONBLOCK != 0
}

/// The descriptor to poll: readable when lb_closing_finish() has something to do,
/// the deadline included. It stays the handle's. -1 and EINVAL for NULL.
///
/// # Safety
/// NULL, or a handle that is not over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closing_fd(closing: *const lb_closing) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { closing.as_ref() } {
        Some(closing) => closing.0.as_raw_fd(),
        None => call(|| Err(code::EINVAL)),
    }
}
