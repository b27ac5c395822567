//! What a driver sees of a connection, in the kernel's own counts.
//!
//! A field that the kernel did not answer is unknown, never a default.

use std::time::Duration;

use crate::errno::Errno;
use crate::report::Side;

/// What a driver saw. Counts are the kernel's own, sequence numbers included:
/// an unacknowledged FIN adds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Observation {
    /// Bytes between the last one written and the last one acknowledged, or why
    /// the kernel does not tell.
    pub(crate) queued: Result<u64, Errno>,
    /// The input, where the look went that far.
    pub(crate) input: Option<Input>,
    /// The rest, when the look was a full one. Where reading gave the end of the
    /// input, it is one.
    pub(crate) detail: Option<Detail>,
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

/// What a full look tells beyond the queue.
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
    Missing,
    Unknown,
}

/// The error that the kernel holds for the next call on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pending {
    None,
    Error(Errno),
    /// The kernel does not tell.
    Unknown,
}

/// Where a connection stands, by the names of RFC 9293 §3.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TcpState {
    /// With data in the SYN (TCP Fast Open, RFC 7413), else nothing can be ended.
    SynSent,
    /// Accepted by TCP Fast Open: written to before the handshake is over.
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

impl TcpState {
    /// The handshake is not over; the kernel does not send a FIN yet.
    pub(crate) const fn in_handshake(self) -> bool {
        matches!(self, Self::SynSent | Self::SynReceived)
    }

    /// Our FIN is in the send queue or beyond: nothing can be written any more.
    pub(crate) const fn fin_queued(self) -> bool {
        matches!(
            self,
            Self::FinWait1 | Self::FinWait2 | Self::Closing | Self::LastAck | Self::TimeWait
        )
    }

    /// The peer's FIN has arrived.
    pub(crate) const fn peer_closed(self) -> bool {
        matches!(
            self,
            Self::CloseWait | Self::LastAck | Self::Closing | Self::TimeWait
        )
    }

    /// Who sent the first FIN, where this state tells.
    pub(super) const fn closed_first(self) -> Option<Side> {
        match self {
            Self::CloseWait | Self::LastAck => Some(Side::Peer),
            Self::FinWait1 | Self::FinWait2 | Self::Closing | Self::TimeWait => Some(Side::Local),
            Self::SynSent | Self::SynReceived | Self::Established | Self::Closed => None,
        }
    }

    /// Whether an abort from here puts an RST on the wire (RFC 9293 §3.10.5;
    /// `tcp_disconnect`, net/ipv4/tcp.c). In CLOSING and LAST_ACK it does so
    /// only while something was never transmitted. `None`: not known.
    pub(super) fn abort_sends_rst(self, unsent: Option<u64>) -> Option<bool> {
        match self {
            Self::SynReceived
            | Self::Established
            | Self::CloseWait
            | Self::FinWait1
            | Self::FinWait2 => Some(true),
            Self::Closing | Self::LastAck => unsent.map(|unsent| unsent > 0),
            Self::SynSent | Self::TimeWait | Self::Closed => Some(false),
        }
    }
}
