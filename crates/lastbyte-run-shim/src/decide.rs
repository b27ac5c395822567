//! What is to become of one close: a pure function of settings and facts.
//!
//! [`decide`] takes for granted that nobody else holds the connection. Whether that is
//! so is asked afterwards, and only where it matters.

use lastbyte_run_protocol::{Linger, Override, Settings};

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

/// What the kernel says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// `SO_LINGER`.
    pub(crate) linger: Linger,
    /// `tcpi_state`.
    pub(crate) state: u8,
    /// `tcpi_unacked`: segments that the peer has not acknowledged, a FIN among them.
    pub(crate) in_flight: u32,
    /// `tcpi_notsent_bytes`: bytes never transmitted, and one for a FIN.
    pub(crate) not_sent: u32,
    /// `tcpi_bytes_sent`: payload, retransmissions included; all ones where the kernel
    /// does not say.
    pub(crate) bytes_sent: u64,
    /// Input waits that nobody has read, or an urgent byte.
    pub(crate) has_unread: bool,
    /// `TCP_REPAIR` is on: its close must send nothing (CRIU moves connections so).
    pub(crate) is_in_repair: bool,
}

impl Facts {
    fn is_under_way(self) -> bool {
        self.in_flight != 0 || self.not_sent != 0
    }

    /// Whether a FIN was sent or queued that the peer has not acknowledged.
    fn has_open_fin(self) -> bool {
        matches!(self.state, TCP_FIN_WAIT1 | TCP_CLOSING | TCP_LAST_ACK)
    }

    /// Whether no byte of ours was ever taken by the kernel. A FIN is no byte.
    fn has_sent_nothing(self) -> bool {
        self.bytes_sent == 0 && self.not_sent <= u32::from(self.has_open_fin())
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The kernel's close is right.
    Plain,
    /// Nothing is under way: FIN first, so that input arriving this instant cannot turn
    /// the close into a bare RST; then the kernel's close.
    FinThenPlain,
    /// The supervisor ends it.
    HandOver(How),
}

/// How the supervisor ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct How {
    /// close(2) waits until it is over, on a blocking socket.
    pub(crate) waits: Waits,
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

impl Waits {
    /// The same for a socket that is blocking, or is not.
    pub(crate) fn on(self, is_blocking: bool) -> Self {
        match self {
            Self::IfBlocking(_) if !is_blocking => Self::No,
            waits => waits,
        }
    }
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

/// Decides about a connection that nobody else holds.
pub(crate) fn decide(settings: Settings, facts: Facts) -> Decision {
    let wanted = wanted(settings, facts.linger);
    // No byte of ours can be lost, and the kernel's RST for unread input tells the peer
    // that nobody read it.
    let never_sent =
        wanted == Override::Off && facts.linger.l_onoff == 0 && facts.has_sent_nothing();
    match facts.state {
        _ if facts.is_in_repair => return Decision::Plain,
        TCP_LISTEN => return Decision::Plain,
        TCP_SYN_SENT if facts.has_sent_nothing() => return Decision::Plain,
        // The kernel's close would wait for the FIN's acknowledgement, on a socket that
        // does not block too.
        TCP_SYN_RECV if facts.has_sent_nothing() && !matches!(wanted, Override::Wait(_)) => {
            return Decision::Plain;
        }
        // Never connected, for all that can be told.
        TCP_CLOSE if never_sent => return Decision::Plain,
        // Reset, finished, or never connected: only a wait or a log asks which. Whoever
        // closes it, no packet leaves any more.
        TCP_CLOSE if !settings.observed && !matches!(wanted, Override::Wait(_)) => {
            return Decision::Plain;
        }
        TCP_CLOSE | TCP_SYN_SENT | TCP_SYN_RECV => {}
        _ if wanted == Override::Off && !facts.is_under_way() && !facts.has_unread => {
            return Decision::FinThenPlain;
        }
        _ if never_sent => return Decision::Plain,
        _ => {}
    }
    // The program's own wish, which the kernel grants, but wipes the counts. Where somebody
    // observes, the supervisor counts and sends the same RST.
    if wanted == Override::Abort && settings.linger == Override::None && !settings.observed {
        return Decision::Plain;
    }
    Decision::HandOver(How {
        waits: waits(wanted),
        // A FIN before the handshake is over would be deferred (SYN_RECV) or end the
        // connection (SYN_SENT).
        fin_first: wanted != Override::Abort
            && matches!(facts.state, TCP_ESTABLISHED | TCP_CLOSE_WAIT),
        fin_is_out: facts.has_open_fin() || facts.state == TCP_FIN_WAIT2,
    })
}

fn waits(wanted: Override) -> Waits {
    match wanted {
        Override::Wait(u64::MAX) => Waits::IfBlocking(None),
        Override::Wait(ms) => Waits::IfBlocking(Some(ms.saturating_add(MARGIN_MS))),
        // The RST is out when close returns, as without us.
        Override::Abort => Waits::Always(MARGIN_MS),
        Override::Off | Override::None => Waits::No,
    }
}

/// Whether a connection in that state, whose reading side is shut or about to be, is
/// reset by input that arrives once its FIN is out.
pub(crate) fn is_reset_by_input(state: u8) -> bool {
    matches!(state, TCP_ESTABLISHED | TCP_FIN_WAIT1 | TCP_FIN_WAIT2)
}

/// Whether the peer of a connection in that state may still send.
pub(crate) fn is_open_to_peer(state: u8) -> bool {
    state == TCP_SYN_RECV || is_reset_by_input(state)
}

/// Whether a connection in that state has sent its FIN, and the peer has not.
pub(crate) fn has_sent_fin(state: u8) -> bool {
    matches!(state, TCP_FIN_WAIT1 | TCP_FIN_WAIT2)
}
