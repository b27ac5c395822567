//! The state of a connection and the length of its queues.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use lastbyte_tcp::State;
use libc::c_int;

use super::option::get;

/// What these systems tell of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) state: State,
    /// Payload bytes in the send queue, transmitted or not. `None` where the kernel does not
    /// tell.
    pub(super) queued: Option<u64>,
}

impl Info {
    pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let (number, queued) = info(socket)?;
        Ok(Self {
            state: state(number),
            queued,
        })
    }

    /// The length of the send queue up to what is acknowledged, our FIN counted.
    pub(super) fn queued_with_fin(&self) -> Option<u64> {
        let fin = match self.state {
            State::FinWait1 | State::Closing | State::LastAck => 1,
            _ => 0,
        };
        match self.state {
            // Our FIN is acknowledged, and so is everything before it.
            State::FinWait2 | State::TimeWait => Some(0),
            _ => self.queued.map(|queued| queued + fin),
        }
    }
}

/// `tcpi_state` is one of TCPS_* (`netinet/tcp_fsm.h`), which are the same on all of them.
fn state(number: u8) -> State {
    match number {
        1 => State::Listen,
        2 => State::SynSent,
        3 => State::SynReceived,
        4 => State::Established,
        5 => State::CloseWait,
        6 => State::FinWait1,
        7 => State::Closing,
        8 => State::LastAck,
        9 => State::FinWait2,
        10 => State::TimeWait,
        _ => State::Closed,
    }
}

/// TCP_INFO (FreeBSD tcp(4), NetBSD tcp(4)) for the state; FIONWRITE (FreeBSD ioctl(2), NetBSD
/// `sys/filio.h`), "number of bytes in the send queue".
#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
fn info(socket: BorrowedFd<'_>) -> io::Result<(u8, Option<u64>)> {
    let (info, _) = get::<libc::tcp_info>(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    let mut count: c_int = 0;
    // SAFETY: one live int is written.
    let rc = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONWRITE, &raw mut count) };
    let queued = (rc != -1).then(|| u64::try_from(count).ok()).flatten();
    Ok((info.tcpi_state, queued))
}

/// TCP_INFO (OpenBSD tcp(4)), whose `tcpi_so_snd_sb_cc` is the send queue's length.
#[cfg(target_os = "openbsd")]
fn info(socket: BorrowedFd<'_>) -> io::Result<(u8, Option<u64>)> {
    let (info, len) = get::<libc::tcp_info>(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    let is_whole = len >= std::mem::offset_of!(libc::tcp_info, tcpi_so_snd_sb_hiwat);
    let queued = is_whole.then(|| info.tcpi_so_snd_sb_cc.into());
    Ok((info.tcpi_state, queued))
}

/// TCP_CONNECTION_INFO (`bsd/netinet/tcp.h` of xnu) for the state; SO_NWRITE
/// (`bsd/sys/socket.h`), "data not yet sent, or sent but not acknowledged".
#[cfg(target_os = "macos")]
fn info(socket: BorrowedFd<'_>) -> io::Result<(u8, Option<u64>)> {
    let name = libc::TCP_CONNECTION_INFO;
    let (info, _) = get::<libc::tcp_connection_info>(socket, libc::IPPROTO_TCP, name)?;
    let queued = get::<c_int>(socket, libc::SOL_SOCKET, libc::SO_NWRITE);
    let queued = queued.ok().and_then(|(count, _)| u64::try_from(count).ok());
    Ok((info.tcpi_state, queued))
}

/// Bytes in the receive queue (FIONREAD). `None` where the kernel does not tell.
pub(super) fn unread(socket: BorrowedFd<'_>) -> Option<u64> {
    let mut count: c_int = 0;
    // SAFETY: one live int is written.
    let rc = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    (rc != -1).then(|| u64::try_from(count).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_of_tcp_fsm_h() {
        let all: Vec<State> = (0..11).map(state).collect();
        assert_eq!(
            all,
            [
                State::Closed,
                State::Listen,
                State::SynSent,
                State::SynReceived,
                State::Established,
                State::CloseWait,
                State::FinWait1,
                State::Closing,
                State::LastAck,
                State::FinWait2,
                State::TimeWait,
            ]
        );
        assert_eq!(state(200), State::Closed);
    }

    #[test]
    fn a_fin_that_is_not_acknowledged_counts() {
        let with_fin = |state, queued| Info { state, queued }.queued_with_fin();
        assert_eq!(with_fin(State::Established, Some(10)), Some(10));
        assert_eq!(with_fin(State::FinWait1, Some(10)), Some(11));
        assert_eq!(with_fin(State::LastAck, Some(0)), Some(1));
        assert_eq!(with_fin(State::FinWait2, None), Some(0));
        assert_eq!(with_fin(State::CloseWait, None), None);
    }
}
