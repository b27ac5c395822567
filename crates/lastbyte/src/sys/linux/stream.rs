//! What an ending does to a TCP connection.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd};
#[cfg(feature = "tokio")]
use std::time::Duration;

use libc::c_int;

use super::super::Filters;
use super::filter;
#[cfg(feature = "tokio")]
use super::look::is_settled;
use super::option::{self, get, set};
use super::socket::HasSocket;
use crate::errno::Errno;
use crate::linger::RawLinger;

/// Shuts down the sending side: data, then FIN.
///
/// # Errors
/// `ENOTCONN` where the connection is already gone.
pub(crate) fn send_fin(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    shut_down(socket, Shutdown::Write).map_err(|error| errno(&error))
}

/// shutdown(2).
pub(crate) fn shut_down(socket: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no pointers are passed.
    if unsafe { libc::shutdown(socket.as_raw_fd(), how) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// As [`freeze`](filter::freeze), if nothing is on its way that the peer may have
/// got without our knowing: all that was transmitted has been acknowledged.
/// Whether that is so.
#[cfg(feature = "tokio")]
pub(crate) fn freeze_if_settled(socket: BorrowedFd<'_>) -> bool {
    // An acknowledgement that comes while frozen is lost: so look before too.
    if !is_settled(socket) || !filter::freeze(socket) {
        return false;
    }
    let settled = is_settled(socket);
    if !settled {
        filter::thaw(socket, false);
    }
    settled
}

/// Holds back what was not transmitted yet, while acknowledgements of the rest
/// still come in (socket(7), SO_MAX_PACING_RATE). Returns what [`unthrottle`] needs.
///
/// A connection sends one more burst and then waits for `time`. It must not be longer:
/// the kernel has no way to take back a wait that has begun (`tcp_wstamp_ns`).
///
/// Best effort: a connection's first ten segments are never paced
/// (`tcp_update_skb_after_send`, net/ipv4/tcp_output.c).
#[cfg(feature = "tokio")]
pub(crate) fn throttle(socket: BorrowedFd<'_>, time: Duration) -> Option<Throttled> {
    // What cannot be undone is not done.
    let before = get::<u64>(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE).ok()?;
    let burst = lastbyte_tcp::TcpInfo::of(socket).ok()?.burst();
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    set_pacing(socket, (burst * 1000 / millis).max(1));
    // Before Linux 4.20 the number has half the length, and all its bits mean no limit.
    Some(Throttled(match before {
        (rate, 4) if rate == u64::from(u32::MAX) => u64::MAX,
        (rate, _) => rate,
    }))
}

/// The pacing that a connection had before it was throttled.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy)]
pub(crate) struct Throttled(u64);

/// Undoes [`throttle`].
#[cfg(feature = "tokio")]
pub(crate) fn unthrottle(socket: BorrowedFd<'_>, before: Throttled) {
    set_pacing(socket, before.0);
}

#[cfg(feature = "tokio")]
fn set_pacing(socket: BorrowedFd<'_>, bytes_per_second: u64) {
    let _ = set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_MAX_PACING_RATE,
        &bytes_per_second,
    );
}

/// Closes the descriptor in the ordinary way, after undoing
/// [`freeze`](filter::freeze). One that is only borrowed stays open.
///
/// The program's own options are taken off first: linger on with a time would
/// block here, on with 0 reset a connection whose data arrived, and so would a
/// negative TCP_LINGER2 (`__tcp_close`, net/ipv4/tcp.c).
pub(crate) fn close(socket: impl HasSocket, filters: Filters) {
    let fd = socket.borrowed();
    if filters.frozen {
        filter::thaw(fd, filters.trimmed);
    }
    let _ = option::set_linger(fd, RawLinger::default());
    let in_fin_wait2 = get::<c_int>(fd, libc::IPPROTO_TCP, libc::TCP_LINGER2);
    if !in_fin_wait2.is_ok_and(|(seconds, _)| seconds >= 0) {
        // The system's own time.
        let _ = set::<c_int>(fd, libc::IPPROTO_TCP, libc::TCP_LINGER2, &0);
    }
}

/// Resets the connection and closes the descriptor. One that is only borrowed
/// stays open, with nothing behind it.
///
/// The disconnect ends the connection even where the descriptor was duplicated
/// and the close alone would not (connect(2), AF_UNSPEC); linger on and 0 does it
/// where a disconnect is forbidden.
///
/// # Errors
/// The kernel refused both, so that the close is an ordinary one.
pub(crate) fn abort(socket: impl HasSocket) -> Result<(), Errno> {
    let on_zero = RawLinger {
        l_onoff: 1,
        l_linger: 0,
    };
    let lingers = option::set_linger(socket.borrowed(), on_zero);
    let nowhere = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: `nowhere` is a whole sockaddr of the length passed, read only.
    let rc = unsafe {
        libc::connect(
            socket.raw(),
            &nowhere,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    if rc == -1 && lingers.is_err() {
        return Err(errno(&io::Error::last_os_error()));
    }
    Ok(())
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
