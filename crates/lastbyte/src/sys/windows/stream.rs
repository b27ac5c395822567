//! What an ending does to a TCP connection.

use std::io;
use std::net::Shutdown;

use super::super::Filters;
use super::code;
use super::option;
use super::socket::{BorrowedSocket, HasSocket, view};
use crate::errno::Errno;
use crate::linger::RawLinger;

/// Winsock has no call that reads FIONBIO back. So a wait waits, and a program whose socket is
/// non-blocking asks for a handle.
pub(crate) fn is_nonblocking(_socket: BorrowedSocket<'_>) -> io::Result<bool> {
    Ok(false)
}

/// Shuts down the sending side: data, then FIN.
///
/// # Errors
/// `ENOTCONN` where the connection is already gone.
pub(crate) fn send_fin(socket: BorrowedSocket<'_>) -> Result<(), Errno> {
    shut_down(socket, Shutdown::Write).map_err(|error| errno(&error))
}

/// shutdown.
pub(crate) fn shut_down(socket: BorrowedSocket<'_>, how: Shutdown) -> io::Result<()> {
    view(socket).shutdown(how)
}

/// Closes the socket in the ordinary way. One that is only borrowed stays open.
///
/// The program's own option is taken off first: linger on with a time would block here, on with
/// 0 reset a connection whose data arrived.
pub(crate) fn close(socket: impl HasSocket, _filters: Filters) {
    let _ = option::set_linger(socket.borrowed(), RawLinger::default());
}

/// Resets the connection and closes the socket. One that is only borrowed is reset when its
/// owner closes it.
///
/// # Errors
/// The system refused, so that the close is an ordinary one.
pub(crate) fn abort(socket: impl HasSocket) -> Result<(), Errno> {
    let on_zero = RawLinger {
        l_onoff: 1,
        l_linger: 0,
    };
    option::set_linger(socket.borrowed(), on_zero).map_err(|error| errno(&error))
}

/// No limit on handles is to be had.
pub(crate) fn descriptor_limit() -> Option<usize> {
    None
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(code::EINVAL))
}
