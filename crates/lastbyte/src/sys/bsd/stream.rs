//! What an ending does to a TCP connection.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd};
#[cfg(feature = "tokio")]
use std::time::Duration;

use super::super::Filters;
use super::option;
use super::socket::HasSocket;
use super::view::view;
use crate::errno::Errno;
use crate::linger::RawLinger;

/// Whether the program asked never to be blocked on this socket.
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

/// Nothing keeps input out of a connection here: no socket has a filter.
pub(crate) fn freeze(_socket: BorrowedFd<'_>) -> bool {
    false
}

/// As [`freeze`].
pub(crate) fn trim(_socket: BorrowedFd<'_>) -> bool {
    false
}

/// As [`freeze`].
pub(crate) fn trim_ahead(_socket: BorrowedFd<'_>) -> bool {
    false
}

pub(crate) fn untrim(_socket: BorrowedFd<'_>) {}

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

/// How many descriptors this process may have open (getrlimit(2)).
pub(crate) fn descriptor_limit() -> Option<usize> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a live rlimit is written.
    let rc = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (rc == 0).then(|| usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

/// These systems do not tell who waits to be accepted, all of them.
#[cfg(feature = "tokio")]
pub(crate) fn backlog(_listener: BorrowedFd<'_>) -> Option<usize> {
    None
}

/// No connection can be held still.
#[cfg(feature = "tokio")]
pub(crate) fn freeze_if_settled(_socket: BorrowedFd<'_>) -> bool {
    false
}

/// No single connection is paced.
#[cfg(feature = "tokio")]
pub(crate) fn throttle(_socket: BorrowedFd<'_>, _time: Duration) -> Option<Throttled> {
    None
}

#[cfg(feature = "tokio")]
#[derive(Clone, Copy)]
pub(crate) struct Throttled(());

#[cfg(feature = "tokio")]
pub(crate) fn unthrottle(_socket: BorrowedFd<'_>, _before: Throttled) {}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
