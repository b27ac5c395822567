//! The standard library's view of a socket.

use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};

/// A socket as a stream, which stays its owner's.
pub(super) fn view(socket: BorrowedFd<'_>) -> ManuallyDrop<TcpStream> {
    // SAFETY: the socket is open while it is borrowed, and the view never closes it.
    ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(socket.as_raw_fd()) })
}
