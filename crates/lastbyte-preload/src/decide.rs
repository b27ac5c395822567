//! What is to become of one close: a pure function of settings and facts.
//!
//! [`at_a_glance`] answers from what is cheap to know, [`decide`] from the rest. Both
//! take for granted that nobody else holds the connection; whether that is so is asked
//! only where it matters.

use lastbyte_handoff::{Left, Linger, Override, Settings};

// tcpi_state, include/net/tcp_states.h.
const TCP_ESTABLISHED: u8 = 1;
const TCP_SYN_SENT: u8 = 2;
const TCP_SYN_RECV: u8 = 3;
const TCP_FIN_WAIT1: u8 = 4;
const TCP_FIN_WAIT2: u8 = 5;
const TCP_CLOSE: u8 = 7;
const TCP_CLOSE_WAIT: u8 = 8;
const TCP_LAST_ACK: u8 = 9;
const TCP_LISTEN: u8 = 10;
const TCP_CLOSING: u8 = 11;

/// Added to a close's own time before it stops waiting for an answer.
const MARGIN_MS: u64 = 1000;

/// What is cheap to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    /// `SO_LINGER`.
    pub(crate) linger: Linger,
    /// `SIOCOUTQ`: bytes, and one for a FIN, that the peer has not acknowledged.
    pub(crate) unacknowledged: i32,
    /// `SIOCINQ`.
    pub(crate) unread: i32,
}

/// What `TCP_INFO` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    /// `tcpi_state`.
    pub(crate) state: u8,
    /// `tcpi_bytes_sent`: payload, retransmissions included; all ones where the kernel
    /// does not say.
    pub(crate) bytes_sent: u64,
}

/// An answer from a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// The kernel's close is right.
    Plain,
    /// Nothing is under way: FIN first, so that input arriving this instant cannot turn
    /// the close into a bare RST; then the kernel's close.
    FinThenPlain,
    /// More must be known.
    Ask,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The kernel's close is right.
    Plain,
    /// The kernel's close, although the contract asks for more.
    Left(Left),
    /// The supervisor ends it.
    HandOver(How),
}

/// How the supervisor ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct How {
    /// close(2) waits until it is over, on a blocking socket.
    pub(crate) waits: Waits,
    /// It is the kernel's close, watched: the program never sent anything.
    pub(crate) as_the_kernel_does: bool,
    /// The FIN leaves before the hand-over, within close(2).
    pub(crate) fin_first: bool,
    /// It has left already.
    pub(crate) fin_is_out: bool,
}

/// Whether close(2) waits for the end, and how long at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// It does not.
    No,
    /// If the socket is blocking, so many milliseconds; `None` is without end, as the
    /// socket's option says.
    IfBlocking(Option<u64>),
    /// For the supervisor to have done it, so many milliseconds.
    Always(u64),
}

/// What the option, or `--linger` in its place, asks for.
fn wanted(settings: Settings, linger: Linger) -> Override {
    match settings.linger {
        Override::None if linger.l_onoff == 0 => Override::Off,
        Override::None if linger.l_linger == 0 => Override::Abort,
        // A negative time is one without end.
        Override::None => {
            Override::Wait(u64::try_from(linger.l_linger).map_or(u64::MAX, |s| s * 1000))
        }
        asked => asked,
    }
}

/// Decides where that needs no more than a glance.
pub(crate) fn at_a_glance(settings: Settings, glance: Glance) -> First {
    if settings.observed {
        return First::Ask;
    }
    match wanted(settings, glance.linger) {
        Override::Off if glance.unacknowledged == 0 && glance.unread == 0 => First::FinThenPlain,
        Override::Abort if settings.linger == Override::None => First::Plain,
        _ => First::Ask,
    }
}

/// Decides about a connection that nobody else holds.
pub(crate) fn decide(settings: Settings, glance: Glance, connection: Connection) -> Decision {
    let wanted = wanted(settings, glance.linger);
    let state = connection.state;
    // A FIN that is not acknowledged is one more in SIOCOUTQ, and no data.
    let fin_is_queued = matches!(state, TCP_FIN_WAIT1 | TCP_CLOSING | TCP_LAST_ACK);
    let data = glance.unacknowledged - i32::from(fin_is_queued && glance.unacknowledged > 0);
    // No byte of ours can be lost, and the kernel's RST for unread input tells the peer
    // that nobody read it.
    let never_sent = wanted == Override::Off
        && glance.linger.l_onoff == 0
        && data == 0
        && connection.bytes_sent == 0;
    match state {
        TCP_LISTEN => return Decision::Plain,
        // SIOCOUTQ is zero before the handshake is over, whatever was written.
        TCP_SYN_SENT | TCP_SYN_RECV => {
            return if connection.bytes_sent == 0 {
                Decision::Plain
            } else {
                Decision::Left(Left::Handshake)
            };
        }
        // Never connected, for all that can be told.
        TCP_CLOSE if never_sent => return Decision::Plain,
        // Reset, finished, or never connected: only a wait or a log asks which.
        TCP_CLOSE if !settings.observed && !matches!(wanted, Override::Wait(_)) => {
            return Decision::Plain;
        }
        _ if never_sent && !settings.observed => return Decision::Plain,
        _ => {}
    }
    Decision::HandOver(How {
        waits: match wanted {
            Override::Wait(u64::MAX) => Waits::IfBlocking(None),
            Override::Wait(ms) => Waits::IfBlocking(Some(ms.saturating_add(MARGIN_MS))),
            // The RST is out when close returns, as without us.
            Override::Abort => Waits::Always(MARGIN_MS),
            // Nor may being watched change what the kernel does, or when.
            Override::Off | Override::None if never_sent => Waits::Always(MARGIN_MS),
            Override::Off | Override::None => Waits::No,
        },
        as_the_kernel_does: never_sent,
        fin_first: wanted != Override::Abort
            && !never_sent
            && matches!(state, TCP_ESTABLISHED | TCP_CLOSE_WAIT),
        fin_is_out: fin_is_queued || state == TCP_FIN_WAIT2,
    })
}

/// Whether a connection in that state, whose reading side is shut or about to be, is
/// reset by input that arrives once its FIN is out.
pub(crate) fn is_reset_by_input(state: u8) -> bool {
    matches!(state, TCP_ESTABLISHED | TCP_FIN_WAIT1 | TCP_FIN_WAIT2)
}

/// Whether a connection in that state has sent its FIN, and the peer has not.
pub(crate) fn has_sent_fin(state: u8) -> bool {
    matches!(state, TCP_FIN_WAIT1 | TCP_FIN_WAIT2)
}
