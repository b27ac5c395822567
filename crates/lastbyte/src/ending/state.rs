//! What an ending is in.

use std::time::Duration;

use crate::errno::Errno;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Data or FIN not acknowledged yet.
    Flushing,
    /// All acknowledged; the peer's FIN is waited for.
    AwaitingPeer,
    /// Reported; late input is discarded so that it does not provoke an RST.
    Holding,
    /// Frozen, to be aborted for this cause.
    Frozen(Cause),
    /// The descriptor was closed.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    Asked,
    Deadline,
    Stall,
    SkipTimeWait,
}

/// Where our FIN is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fin {
    /// Not asked for.
    None,
    /// The kernel refused to take it.
    Refused(Errno),
    /// Asked for during the handshake: the kernel queues it when that is over
    /// (`tcp_rcv_state_process`, net/ipv4/tcp_input.c). Its counts are without it.
    Deferred,
    /// In the send queue or beyond, and in the kernel's counts.
    Sent,
}

/// The reading side on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ReadSide {
    Open,
    /// Whether it is shut down is not known.
    Unknown,
    /// Shut down before or during the close, so that input makes the kernel reset
    /// the connection.
    Shut,
    /// Shut down, and input is kept out; what was kept out is not counted.
    Trimmed,
    /// Shut down, and input could not be kept out.
    Exposed,
}

/// Nanoseconds since the ending began, half the size of a `Duration`: thousands
/// of endings are held at once. Longer than 584 years is for ever.
pub(super) type Nanos = u64;

pub(super) const NEVER: Nanos = Nanos::MAX;

#[inline]
pub(super) fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(NEVER)
}
