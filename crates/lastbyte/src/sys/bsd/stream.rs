//! What an ending does to a TCP connection.

use std::io;
use std::net::Shutdown;
use std::os::fd::BorrowedFd;

use super::super::Filters;
use super::option;
use super::socket::HasSocket;
use super::view::view;
use crate::errno::Errno;
use crate::linger::RawLinger;

/// Shuts down the sending side: data, then FIN.
///
/// The program's own linger option is taken off first: macOS refuses to after a shutdown
/// (EINVAL).
///
/// # Errors
/// `ENOTCONN` where the connection is already gone.
pub(crate) fn send_fin(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let _ = option::set_linger(socket, RawLinger::default());
    shut_down(socket, Shutdown::Write).map_err(|error| errno(&error))
}

/// shutdown(2).
pub(crate) fn shut_down(socket: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
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
/// The kernel refused, so that the close is an ordinary one.
pub(crate) fn abort(socket: impl HasSocket) -> Result<(), Errno> {
    let on_zero = RawLinger {
        l_onoff: 1,
        l_linger: 0,
    };
    option::set_linger(socket.borrowed(), on_zero).map_err(|error| errno(&error))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
