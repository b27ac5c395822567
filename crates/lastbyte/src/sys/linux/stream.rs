//! Looking at a TCP stream, and the few things an ending does to it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::c_int;

use super::hint;
use super::info::{Info, State};
use super::option::{self, get, ioctl_int, set};
use crate::ending::{Detail, Observation, TcpState};
use crate::errno::Errno;
use crate::error::Refusal;
use crate::linger::RawLinger;

/// tcp(7), linux/sockios.h; SIOCOUTQ is TIOCOUTQ and SIOCINQ is FIONREAD.
const SIOCOUTQ: libc::Ioctl = libc::TIOCOUTQ;
const SIOCINQ: libc::Ioctl = libc::FIONREAD;

/// Why there is no first observation.
pub(crate) enum NoLook {
    Refused(Refusal),
    Failed(io::Error),
}

/// Whether the program asked never to be blocked on this socket.
pub(crate) fn is_nonblocking(socket: BorrowedFd<'_>) -> bool {
    // SAFETY: F_GETFL takes no pointer.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    flags != -1 && flags & libc::O_NONBLOCK != 0
}

/// Checks that this is a connection that can be ended, and looks at all but its
/// input. Nothing is changed.
pub(crate) fn first_look(socket: BorrowedFd<'_>) -> Result<Observation, NoLook> {
    match is_tcp(socket) {
        Ok(true) => first_look_at_tcp(socket),
        Ok(false) => Err(NoLook::Refused(Refusal::NotTcp)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EBADF) => Err(NoLook::Refused(Refusal::BadDescriptor)),
            Some(libc::ENOTSOCK) => Err(NoLook::Refused(Refusal::NotASocket)),
            _ => Err(NoLook::Failed(error)),
        },
    }
}

/// Whether this is a TCP socket. TCP_INFO does not tell: an MPTCP socket answers
/// that too, for one subflow.
pub(crate) fn is_tcp(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let (protocol, _) = get::<c_int>(socket, libc::SOL_SOCKET, libc::SO_PROTOCOL)?;
    Ok(protocol == libc::IPPROTO_TCP)
}

/// As [`first_look`], at what is known to be a TCP socket.
pub(crate) fn first_look_at_tcp(socket: BorrowedFd<'_>) -> Result<Observation, NoLook> {
    let refuse = |refusal| Err(NoLook::Refused(refusal));
    let info = Info::of(socket).map_err(NoLook::Failed)?;
    match info.state() {
        State::Listening => return refuse(Refusal::Listening),
        State::Connecting => return refuse(Refusal::Connecting),
        State::Connected(TcpState::Closed) if !info.was_connected() => {
            return refuse(Refusal::NotConnected);
        }
        State::Connected(_) => {}
    }
    // Where the counters say it, the queue is not asked as well.
    Ok(match (info.state(), info.queued_before_fin()) {
        (State::Connected(TcpState::Established | TcpState::CloseWait), Some(queued)) => {
            observation(socket, &info, queued, Input::UNSEEN)
        }
        _ => with_detail(socket, info, Input::UNSEEN),
    })
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// At the send queue; and at the input too once it is empty, because then the
    /// connection may be closed.
    Queue,
    /// At the input as well.
    Input,
    /// As `Input`; and at everything where that does not show that both sides are
    /// through.
    HangUp,
    /// At the input alone: the queue was seen to be empty.
    Late,
    /// At everything.
    Full,
}

/// Looks at the connection, discarding up to `allowance` bytes of input on the
/// way. Where reading fails, the look becomes a full one.
pub(crate) fn look(socket: BorrowedFd<'_>, allowance: u64, how: Look) -> Observation {
    let input = match how {
        Look::Queue => match queued(socket) {
            0 => discard(socket, allowance),
            // Not asked again: empty by now, it would say that all is over while
            // the input was never looked at.
            queued => {
                return Observation {
                    queued,
                    drained: 0,
                    unread: 0,
                    eof: false,
                    detail: None,
                };
            }
        },
        Look::Input | Look::HangUp | Look::Late | Look::Full => discard(socket, allowance),
    };
    let queued = match how {
        // Seen to be empty, and nothing can be added behind a FIN.
        Look::Queue | Look::Late => 0,
        Look::Input | Look::HangUp | Look::Full => queued(socket),
    };
    let in_full = match how {
        Look::Full => true,
        Look::HangUp => queued > 0 || !input.eof,
        Look::Queue | Look::Input | Look::Late => false,
    };
    if in_full || input.error.is_some() {
        if let Ok(info) = Info::of(socket) {
            return with_detail(socket, info, input);
        }
    }
    Observation {
        queued,
        drained: input.drained,
        unread: input.left,
        eof: input.eof,
        detail: None,
    }
}

/// What an open connection is known by when its end is left to the kernel.
pub(crate) struct Identity {
    /// What the kernel's notice of its end will carry (SO_COOKIE, Linux 4.12).
    pub(crate) cookie: u64,
    /// Data segments that came in so far.
    pub(crate) data_segments_in: u64,
    /// Whether the peer's FIN is in.
    pub(crate) peer_closed: bool,
}

/// Identifies a TCP connection that is open, with no FIN of ours. None where it is
/// not, and where input is unread, with which a close would reset it. Nothing is
/// changed.
pub(crate) fn identify(socket: BorrowedFd<'_>) -> Option<Identity> {
    if !is_tcp(socket).ok()? {
        return None;
    }
    let info = Info::of(socket).ok()?;
    let peer_closed = match info.state() {
        State::Connected(TcpState::Established) => false,
        State::Connected(TcpState::CloseWait) => true,
        _ => return None,
    };
    let (cookie, _) = get::<u64>(socket, libc::SOL_SOCKET, libc::SO_COOKIE).ok()?;
    let data_segments_in = info.data_segments_in()?;
    // Last, so that what arrives after it also counts as arriving after the close.
    (count(ioctl_int(socket, SIOCINQ)) == 0).then_some(Identity {
        cookie,
        data_segments_in,
        peer_closed,
    })
}

/// Shuts down the sending side: data, then FIN. False where the connection is
/// already gone.
pub(crate) fn send_fin(socket: BorrowedFd<'_>) -> bool {
    // SAFETY: no pointers are passed.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) == 0 }
}

/// Drops everything that arrives from now on, so that the counters stand still
/// between being read and the RST (socket(7), SO_ATTACH_FILTER).
///
/// Best effort: without memory for the filter the counts are as exact as the
/// few microseconds in between.
pub(crate) fn freeze(socket: BorrowedFd<'_>) {
    let mut drop_all = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &mut drop_all,
    };
    let _ = set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_ATTACH_FILTER,
        &option::Program(program),
    );
}

/// As [`freeze`], if nothing is on its way that the peer may have got without our
/// knowing: all that was transmitted has been acknowledged. Whether that is so.
#[cfg(feature = "tokio")]
pub(crate) fn freeze_if_settled(socket: BorrowedFd<'_>) -> bool {
    // An acknowledgement that comes while frozen is lost: so look before too.
    if !is_settled(socket) {
        return false;
    }
    freeze(socket);
    let settled = is_settled(socket);
    if !settled {
        thaw(socket);
    }
    settled
}

#[cfg(feature = "tokio")]
fn is_settled(socket: BorrowedFd<'_>) -> bool {
    Info::of(socket).is_ok_and(|info| {
        matches!(info.state(), State::Connected(TcpState::Closed))
            // Counted like the queue, the FIN included.
            || info.unsent().is_some_and(|unsent| unsent == queued(socket))
    })
}

/// Holds back what was not transmitted yet, while acknowledgements of the rest
/// still come in (socket(7), SO_MAX_PACING_RATE).
///
/// Best effort: a connection's first ten segments are never paced
/// (`tcp_update_skb_after_send`, net/ipv4/tcp_output.c).
#[cfg(feature = "tokio")]
pub(crate) fn throttle(socket: BorrowedFd<'_>) {
    let bytes_per_second: c_int = 1;
    let _ = set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_MAX_PACING_RATE,
        &bytes_per_second,
    );
}

fn thaw(socket: BorrowedFd<'_>) {
    let _ = set::<c_int>(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0);
}

/// Closes the descriptor in the ordinary way, after undoing [`freeze`]. One that
/// is only borrowed stays open.
///
/// The program's own linger option is taken off first: on with a time it would
/// block here, on with 0 reset a connection whose data arrived.
pub(crate) fn close(socket: impl AsFd, frozen: bool) {
    if frozen {
        thaw(socket.as_fd());
    }
    let _ = option::set_linger(socket.as_fd(), RawLinger::default());
}

/// Resets the connection and closes the descriptor. One that is only borrowed
/// stays open, with nothing behind it.
///
/// The disconnect ends the connection even where the descriptor was duplicated
/// and the close alone would not (connect(2), AF_UNSPEC); linger on and 0 does it
/// where a disconnect is forbidden.
pub(crate) fn abort(socket: impl AsFd) {
    let on_zero = RawLinger {
        l_onoff: 1,
        l_linger: 0,
    };
    // Neither fails on a TCP socket.
    let _ = option::set_linger(socket.as_fd(), on_zero);
    let nowhere = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: `nowhere` is a whole sockaddr of the length passed, read only.
    unsafe {
        libc::connect(
            socket.as_fd().as_raw_fd(),
            &nowhere,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        );
    }
}

struct Input {
    drained: u64,
    /// What could not be discarded.
    left: u64,
    eof: bool,
    error: Option<Errno>,
}

impl Input {
    const UNSEEN: Self = Self {
        drained: 0,
        left: 0,
        eof: false,
        error: None,
    };
}

/// Reads and throws away, without copying: on TCP, MSG_TRUNC discards (tcp(7)).
fn discard(socket: BorrowedFd<'_>, allowance: u64) -> Input {
    let mut input = Input::UNSEEN;
    let mut copy = None;
    while input.drained < allowance {
        let left = usize::try_from(allowance - input.drained).unwrap_or(usize::MAX);
        match recv(socket, left, &mut copy) {
            Ok(0) => {
                input.eof = true;
                return input;
            }
            Ok(n) => input.drained += n as u64,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) | None => return input,
                // With this the error has been taken off the socket.
                Some(raw) => {
                    input.error = Some(Errno::from_raw(raw));
                    return input;
                }
            },
        }
    }
    input.left = count(ioctl_int(socket, SIOCINQ));
    input
}

/// Where a protocol layered on TCP (kernel TLS) insists on a place to copy to.
type Scratch = Option<Box<[u8; 16384]>>;

fn recv(socket: BorrowedFd<'_>, max: usize, copy: &mut Scratch) -> io::Result<usize> {
    // Within what a single recv() may return on every word size.
    let max = max.min(1 << 30);
    let (into, len, flags) = match copy {
        None => (std::ptr::null_mut(), max, libc::MSG_TRUNC),
        Some(scratch) => (scratch.as_mut_ptr(), max.min(scratch.len()), 0),
    };
    // SAFETY: with MSG_TRUNC TCP writes nothing, and the kernel would answer
    // EFAULT rather than write to null; else `into` has room for `len` bytes.
    let n = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            into.cast(),
            len,
            flags | libc::MSG_DONTWAIT,
        )
    };
    match usize::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) => {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::EFAULT) && copy.is_none() {
                *copy = Some(Box::new([0; 16384]));
                return recv(socket, max, copy);
            }
            Err(error)
        }
    }
}

/// A full observation out of `info`, or of a newer one where an acknowledgement
/// comes between it and the queue's length, which it does not have.
fn with_detail(socket: BorrowedFd<'_>, mut info: Info, input: Input) -> Observation {
    let mut tries = 0;
    let queued = loop {
        let queued = queued(socket);
        tries += 1;
        if tries == 8 || info.agrees_with(queued) {
            break queued;
        }
        match Info::of(socket) {
            Ok(newer) => info = newer,
            Err(_) => break queued,
        }
    };
    observation(socket, &info, queued, input)
}

fn observation(socket: BorrowedFd<'_>, info: &Info, queued: u64, input: Input) -> Observation {
    let state = match info.state() {
        State::Connected(state) => state,
        State::Connecting | State::Listening => TcpState::Closed,
    };
    let closed = state == TcpState::Closed;
    let transmitted = info.transmitted();
    let error = input
        .error
        .or_else(|| if closed { pending_error(socket) } else { None });
    let fin_acked = match info.fin_acked() {
        // Both FINs have passed where a connection is gone without an error.
        Some(false) | None
            if closed && queued == 0 && error.is_none() && hint::peers_fin_came(socket) =>
        {
            Some(true)
        }
        counted => counted,
    };
    Observation {
        queued,
        drained: input.drained,
        // Nothing will be discarded any more from a connection that is gone.
        unread: if closed && input.left == 0 {
            count(ioctl_int(socket, SIOCINQ))
        } else {
            input.left
        },
        // Input that may not be discarded hides the FIN behind it from recv().
        eof: input.eof
            || matches!(
                state,
                TcpState::CloseWait | TcpState::LastAck | TcpState::Closing | TcpState::TimeWait
            ),
        detail: Some(Detail {
            state,
            unsent: info.unsent().unwrap_or(0).min(queued),
            acked: info.acked().filter(|_| transmitted.is_some()),
            transmitted: transmitted.unwrap_or(0),
            error,
            fin_acked,
            unanswered: info.unanswered(),
            since_ack: info.since_ack(),
        }),
    }
}

/// SO_ERROR, which is cleared by reading it.
fn pending_error(socket: BorrowedFd<'_>) -> Option<Errno> {
    let (error, _) = get::<c_int>(socket, libc::SOL_SOCKET, libc::SO_ERROR).ok()?;
    (error != 0).then(|| Errno::from_raw(error))
}

/// write_seq − snd_una.
fn queued(socket: BorrowedFd<'_>) -> u64 {
    count(ioctl_int(socket, SIOCOUTQ))
}

fn count(answer: io::Result<c_int>) -> u64 {
    // These cannot fail on a connected TCP socket, nor be negative.
    answer.ok().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}
