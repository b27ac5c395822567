//! Looking at a TCP connection.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use lastbyte_tcp::{TcpInfo, destroyed, queue};
use libc::c_int;

use super::super::{Identity, Look, NoLook};
use super::filter::is_trimmed;
use super::hint;
use super::input::{discard, is_empty, unread};
use super::option::get;
use crate::ending::{Detail, Input, NoCount, Observation, PeerFin, Pending, TcpState};
use crate::errno::Errno;
use crate::error::Refusal;

/// Checks that this is a connection that can be ended, and looks at all but its
/// input. Nothing is changed.
pub(crate) fn first_look(socket: BorrowedFd<'_>) -> Result<Observation, NoLook> {
    match protocol(socket) {
        Ok(libc::IPPROTO_TCP) => first_look_at_tcp(socket),
        Ok(libc::IPPROTO_MPTCP) => Err(NoLook::Refused(Refusal::Mptcp)),
        Ok(_) => Err(NoLook::Refused(Refusal::NotTcp)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EBADF) => Err(NoLook::Refused(Refusal::BadDescriptor)),
            Some(libc::ENOTSOCK) => Err(NoLook::Refused(Refusal::NotASocket)),
            _ => Err(NoLook::Failed(error)),
        },
    }
}

/// Returns whether this is a TCP socket. TCP_INFO does not tell: an MPTCP socket answers
/// that too, for one subflow.
pub(crate) fn is_tcp(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(protocol(socket)? == libc::IPPROTO_TCP)
}

fn protocol(socket: BorrowedFd<'_>) -> io::Result<c_int> {
    let (protocol, _) = get::<c_int>(socket, libc::SOL_SOCKET, libc::SO_PROTOCOL)?;
    Ok(protocol)
}

/// As [`first_look`], at what is known to be a TCP socket.
pub(crate) fn first_look_at_tcp(socket: BorrowedFd<'_>) -> Result<Observation, NoLook> {
    let refuse = |refusal| Err(NoLook::Refused(refusal));
    // Before the state, so that a FIN of the peer's that shows here shows there.
    let reading_is_shut = reading_is_shut(socket);
    let mut info = TcpInfo::of(socket).map_err(NoLook::Failed)?;
    if reading_is_shut == Some(true) {
        // A FIN that another CPU is about to take shows to poll before it shows in the
        // state, and both are read without the socket's lock (`tcp_fin`,
        // net/ipv4/tcp_input.c; `tcp_get_info`). The call above has had it since.
        info = TcpInfo::of(socket).map_err(NoLook::Failed)?;
    }
    let state = state_of(&info);
    match state {
        TcpState::Listen => return refuse(Refusal::Listening),
        TcpState::SynSent if info.accepted() == Some(0) => return refuse(Refusal::Connecting),
        TcpState::Closed if !info.was_connected() && is_cleared(&info) => {
            return refuse(Refusal::NotConnected);
        }
        _ => {}
    }
    // Where the counters say it, the queue is not asked as well.
    let mut seen = match (state, info.queued_before_fin()) {
        (TcpState::Established | TcpState::CloseWait, Some(queued)) => {
            observation(socket, &info, Ok(queued), None, Proof::Wanted, None)
        }
        _ => with_detail(socket, info, None, Proof::Wanted, None),
    };
    if let Some(detail) = &mut seen.detail {
        detail.read_shut = match state {
            TcpState::Closed => None,
            state if state.peer_closed() => Some(false),
            _ => reading_is_shut,
        };
        // A filter stays on a connection that is gone.
        detail.input_trimmed = state == TcpState::Closed && is_trimmed(socket);
    }
    Ok(seen)
}

/// Returns whether reading gives the end at once, by the peer's FIN or because of a
/// shutdown on this host (`tcp_poll`, net/ipv4/tcp.c). `None` where the kernel
/// does not tell.
pub(super) fn reading_is_shut(socket: BorrowedFd<'_>) -> Option<bool> {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call, which does not wait.
    let n = unsafe { libc::poll(&mut poll, 1, 0) };
    (n >= 0).then_some(poll.revents & libc::POLLRDHUP != 0)
}

/// Whether it is worth some more calls to learn of the peer's FIN at a connection
/// that is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    Wanted,
    Unwanted,
}

/// Looks at the connection, discarding up to `allowance` bytes of input on the
/// way. Where reading fails, or gives the end, the look becomes one at the state
/// as well: that alone tells whether the peer's FIN came.
pub(crate) fn look(socket: BorrowedFd<'_>, allowance: u64, how: Look) -> Observation {
    let (input, error) = match how {
        Look::Queue => match queued(socket) {
            Ok(0) => discard(socket, allowance),
            // Not asked again: empty by now, it would say that all is over while
            // the input was never looked at.
            queued => {
                return Observation {
                    queued,
                    input: None,
                    detail: None,
                };
            }
        },
        Look::Input | Look::HangUp | Look::Late | Look::Full => discard(socket, allowance),
    };
    let proof = match how {
        Look::Full => Proof::Wanted,
        // What broke it off is not to be asked twice.
        _ if error.is_some() => Proof::Wanted,
        Look::Queue | Look::Input | Look::HangUp | Look::Late => Proof::Unwanted,
    };
    if input.ended || error.is_some() || matches!(how, Look::HangUp | Look::Full) {
        return match TcpInfo::of(socket) {
            Ok(info) => with_detail(socket, info, Some(input), proof, error),
            Err(error) => Observation {
                queued: Err(errno(&error).into()),
                input: Some(input),
                detail: None,
            },
        };
    }
    Observation {
        queued: match how {
            // Seen to be empty, and nothing can be added behind a FIN.
            Look::Queue | Look::Late => Ok(0),
            Look::Input | Look::HangUp | Look::Full => queued(socket),
        },
        input: Some(input),
        detail: None,
    }
}

/// Identifies a TCP connection that is open, with no FIN of ours. None where it is
/// not, and where input is unread, with which a close would reset it. Nothing is
/// changed.
pub(crate) fn identify(socket: BorrowedFd<'_>) -> Option<Identity> {
    if !is_tcp(socket).ok()? {
        return None;
    }
    let info = TcpInfo::of(socket).ok()?;
    let peer_closed = match state_of(&info) {
        TcpState::Established => false,
        TcpState::CloseWait => true,
        _ => return None,
    };
    let (cookie, _) = get::<u64>(socket, libc::SOL_SOCKET, libc::SO_COOKIE).ok()?;
    let data_segments_in = info.data_segments_in()?;
    // Last, so that what arrives after it also counts as arriving after the close.
    is_empty(socket)?.then_some(Identity {
        cookie,
        data_segments_in,
        peer_closed,
        namespace: destroyed::namespace(socket),
    })
}

/// Returns whether all that was transmitted has been acknowledged, or the connection is
/// gone.
#[cfg(feature = "tokio")]
pub(super) fn is_settled(socket: BorrowedFd<'_>) -> bool {
    TcpInfo::of(socket).is_ok_and(|info| {
        state_of(&info) == TcpState::Closed
            // Counted like the queue, the FIN included.
            || info.unsent().is_some_and(|unsent| queued_now(socket, &info) == Ok(unsent.into()))
    })
}

/// A full observation out of `info`, or of a newer one where an acknowledgement
/// comes between it and the queue's length, which it does not have.
fn with_detail(
    socket: BorrowedFd<'_>,
    mut info: TcpInfo,
    input: Option<Input>,
    proof: Proof,
    error: Option<Errno>,
) -> Observation {
    let mut tries = 0;
    let queued = loop {
        let queued = queued_now(socket, &info);
        tries += 1;
        if tries == 8 || queued.is_err() || queued.is_ok_and(|n| info.agrees_with(n)) {
            break queued;
        }
        match TcpInfo::of(socket) {
            Ok(newer) => info = newer,
            Err(_) => break queued,
        }
    };
    observation(socket, &info, queued, input, proof, error)
}

/// The length of the queue. Before the handshake is over SIOCOUTQ says 0 whatever
/// is queued (`tcp_ioctl`, net/ipv4/tcp.c), and of a connection that never came
/// about it counts the SYN; the counters tell then.
fn queued_now(socket: BorrowedFd<'_>, info: &TcpInfo) -> Result<u64, NoCount> {
    match state_of(info) {
        TcpState::Closed if info.was_connected() => queued(socket),
        // Another holder of the connection has disconnected it.
        TcpState::Closed if is_cleared(info) => Err(Errno::ENOTCONN.into()),
        state if state.in_handshake() || state == TcpState::Closed => info
            .accepted()
            .ok_or(Errno::from_raw(libc::ENOPROTOOPT).into()),
        _ => queued(socket),
    }
}

/// The state, of those that an ending knows: no socket that a program holds is in
/// `NewSynReceived`, and a number that is none says that nothing stands any more.
pub(super) fn state_of(info: &TcpInfo) -> TcpState {
    match info.state() {
        Some(TcpState::NewSynReceived) => TcpState::SynReceived,
        Some(state) => state,
        None => TcpState::Closed,
    }
}

/// A kernel that does not count cannot tell that anything was ever transmitted.
fn is_cleared(info: &TcpInfo) -> bool {
    info.is_cleared() != Some(false)
}

fn observation(
    socket: BorrowedFd<'_>,
    info: &TcpInfo,
    queued: Result<u64, NoCount>,
    input: Option<Input>,
    proof: Proof,
    error: Option<Errno>,
) -> Observation {
    let state = match state_of(info) {
        TcpState::Listen => TcpState::Closed,
        state => state,
    };
    let closed = state == TcpState::Closed;
    let error = match (error, closed) {
        (Some(error), _) => Pending::Error(error),
        (None, true) => pending_error(socket),
        (None, false) => Pending::None,
    };
    let peer_fin = if closed && proof == Proof::Wanted {
        hint::peers_fin(socket)
    } else {
        PeerFin::NotAsked
    };
    let fin_acked = match info.fin_acked() {
        // Both FINs have passed where a connection is gone without an error.
        Some(false) | None
            if queued == Ok(0) && error == Pending::None && peer_fin == PeerFin::Came =>
        {
            Some(true)
        }
        counted => counted,
    };
    Observation {
        queued,
        // Nothing will be discarded any more from a connection that is gone.
        input: match input {
            Some(input) if closed && input.left == Some(0) => Some(Input {
                left: unread(socket),
                ..input
            }),
            None if closed => Some(Input {
                drained: 0,
                left: unread(socket),
                ended: false,
            }),
            input => input,
        },
        detail: Some(Detail {
            state,
            unsent: info.unsent().map(u64::from).map(|unsent| match queued {
                Ok(queued) => unsent.min(queued),
                Err(_) => unsent,
            }),
            acked: info.acked(),
            transmitted: info.transmitted(),
            error,
            fin_acked,
            peer_fin,
            connected: info.handshake_over(),
            unanswered: info.unanswered(),
            since_ack: info.since_ack(),
            data_segments_in: info.data_segments_in(),
            read_shut: None,
            input_trimmed: false,
        }),
    }
}

/// SO_ERROR, which is cleared by reading it.
fn pending_error(socket: BorrowedFd<'_>) -> Pending {
    match get::<c_int>(socket, libc::SOL_SOCKET, libc::SO_ERROR) {
        Ok((0, _)) => Pending::None,
        Ok((error, _)) => Pending::Error(Errno::from_raw(error)),
        Err(_) => Pending::Unknown,
    }
}

/// write_seq − snd_una.
fn queued(socket: BorrowedFd<'_>) -> Result<u64, NoCount> {
    queue::unacknowledged(socket).map_err(|error| errno(&error).into())
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
