//! What a driver sees of a connection, in the kernel's own counts.
//!
//! A field that the kernel did not answer is unknown, never a default.

use std::time::Duration;

pub(crate) use lastbyte_tcp::State as TcpState;

use crate::errno::Errno;
use crate::report::Side;

/// What a driver saw. Counts are the kernel's own, sequence numbers included:
/// an unacknowledged FIN adds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Observation {
    /// Bytes between the last one written and the last one acknowledged, or why
    /// the kernel does not tell.
    pub(crate) queued: Result<u64, NoCount>,
    /// The input, where the look went that far.
    pub(crate) input: Option<Input>,
    /// The rest, when the look was a full one. Where reading gave the end of the
    /// input, it is one.
    pub(crate) detail: Option<Detail>,
}

impl Observation {
    /// The error, where the kernel does not let us see the connection.
    #[inline]
    pub(super) fn blind(&self) -> Option<Errno> {
        match self.queued {
            Err(NoCount::Refused(error)) => Some(error),
            Err(NoCount::Uncounted) | Ok(_) => None,
        }
    }
}

/// Why the length of the send queue is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NoCount {
    /// The kernel did not answer.
    Refused(Errno),
    /// Something is not acknowledged, and the system does not count how much.
    #[cfg_attr(
        all(target_os = "linux", not(test)),
        expect(dead_code, reason = "Linux counts")
    )]
    Uncounted,
}

impl From<Errno> for NoCount {
    fn from(error: Errno) -> Self {
        Self::Refused(error)
    }
}

/// What a look found in the receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Input {
    /// Bytes discarded by this look.
    pub(crate) drained: u64,
    /// Bytes left, because they may not be discarded. `None`: not known.
    pub(crate) left: Option<u64>,
    /// Reading gave the end: the peer's FIN, or the reading side was shut down
    /// on this host, or the connection is gone.
    pub(crate) ended: bool,
}

impl Input {
    /// Nothing was read, and nothing waits.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self {
        drained: 0,
        left: Some(0),
        ended: false,
    };
}

/// What a full look shows beyond the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Detail {
    pub(crate) state: TcpState,
    /// Bytes of the send queue never transmitted.
    pub(crate) unsent: Option<u64>,
    /// Bytes acknowledged over the connection's life, SYN (connecting side) and
    /// FIN counted. `None` also when the counters moved while they were read.
    pub(crate) acked: Option<u64>,
    /// Payload bytes transmitted, each counted once.
    pub(crate) transmitted: Option<u64>,
    /// The error of a connection that is gone.
    pub(crate) error: Pending,
    /// Whether a FIN of ours was acknowledged, by the count of segments delivered;
    /// of a connection that is gone, also by the peer's FIN and no error. `None`
    /// where retransmissions blur it.
    pub(crate) fin_acked: Option<bool>,
    /// Of a connection that is gone: whether the peer's FIN had arrived.
    pub(crate) peer_fin: PeerFin,
    /// Whether the handshake was ever over.
    pub(crate) connected: Option<bool>,
    /// Retransmissions or probes were under way and unanswered.
    pub(crate) unanswered: bool,
    /// Time since any acknowledgement arrived.
    pub(crate) since_ack: Duration,
    /// Segments with data that came in over the connection's life.
    pub(crate) data_segments_in: Option<u32>,
    /// Whether the reading side was shut down on this host. The first look asks
    /// for it; to later ones it shows in [`Input::ended`].
    pub(crate) read_shut: Option<bool>,
    /// Of a connection that is gone by the first look: a filter kept input out, and nothing
    /// counts what that was.
    pub(crate) input_trimmed: bool,
}

impl Detail {
    /// Nothing sent, nothing received.
    pub(crate) const fn of(state: TcpState) -> Self {
        Self {
            state,
            unsent: Some(0),
            acked: Some(0),
            transmitted: Some(0),
            error: Pending::None,
            fin_acked: None,
            peer_fin: PeerFin::NotAsked,
            connected: Some(true),
            unanswered: false,
            since_ack: Duration::ZERO,
            data_segments_in: Some(0),
            read_shut: Some(false),
            input_trimmed: false,
        }
    }
}

/// Whether the peer's FIN arrived at a connection that is gone, whose state does
/// not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PeerFin {
    /// It costs four system calls; only a look at everything asks.
    NotAsked,
    Came,
    #[cfg_attr(
        all(windows, not(test)),
        expect(dead_code, reason = "Windows does not tell")
    )]
    Missing,
    Unknown,
}

/// The error that the kernel holds for the next call on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pending {
    None,
    Error(Errno),
    /// The kernel does not show it.
    Unknown,
}

/// The side that sent the first FIN, where the state shows it.
#[inline]
pub(super) const fn closed_first(state: TcpState) -> Option<Side> {
    match state {
        TcpState::CloseWait | TcpState::LastAck => Some(Side::Peer),
        TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::TimeWait => {
            Some(Side::Local)
        }
        TcpState::SynSent
        | TcpState::SynReceived
        | TcpState::NewSynReceived
        | TcpState::Established
        | TcpState::Closed
        | TcpState::Listen => None,
    }
}
