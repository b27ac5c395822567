//! From evidence to verdict, in the words of the contract's section G. Pure: the
//! same evidence always gives the same verdict.

mod cleared;
mod control;
mod inferred;
mod observed;

use lastbyte::{Errno, Fate, Side};

use crate::ending::{Bytes, Evidence, Rst};
use crate::evidence::history::History;
use crate::evidence::last_sample::LastSample;
use crate::parse::inet_diag::Socket;
use crate::reason::Reason;
use control::Signs;
use lastbyte_tcp::info::Counters;

/// Everything known of one ended connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    /// The kernel's destroy notice.
    pub socket: &'a Socket,
    /// What the tracepoints told, if they could.
    pub history: Option<&'a History>,
    /// Steps were missed when the history ended: what was not told, an RST above all,
    /// may have happened.
    pub blind: bool,
    /// The last look at the living socket, if there was one.
    pub sample: Option<&'a LastSample>,
    /// Whether it is known to be a subflow of an MPTCP connection.
    pub mptcp: bool,
    /// When it ended, in nanoseconds of `CLOCK_MONOTONIC`; else as `told`.
    pub at: u64,
    /// When the destroy notice came.
    pub told: u64,
    /// Whether its local port was ever seen listening.
    pub port_listens: bool,
    /// The kernel's error for the application.
    pub errno: Option<i32>,
    /// Why the peer sent its RST, when the peer is on this host.
    pub peer_reason: Option<(Option<Reason>, bool)>,
    /// Whether that was after the socket was gone.
    pub peer_reset_later: bool,
    /// What the table of TIME_WAIT sockets said afterwards.
    pub after: After,
}

/// What became of the connection after its socket was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Not asked.
    NotAsked,
    /// The kernel holds it in TIME_WAIT: the peer's FIN has come.
    TimeWait,
    /// The kernel holds it in FIN_WAIT2: the peer's FIN has not come.
    FinWait2,
    /// The kernel held it in FIN_WAIT2 until the time for that was over.
    Expired,
    /// The kernel holds nothing (any more), who knows since when.
    Nothing,
    /// The peer sent something that we answered with an RST.
    Reset(Reason),
}

/// The verdict on one ending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// The fate.
    pub fate: Option<Fate>,
    /// What the kernel gave up with.
    pub error: Option<Errno>,
    /// Whose FIN or RST came first.
    pub closed_first: Option<Side>,
    /// The RST.
    pub rst: Option<Rst>,
    /// The counts.
    pub bytes: Bytes,
    /// How it is known.
    pub evidence: Evidence,
    /// Whether the table of TIME_WAIT sockets would tell more.
    pub ask: bool,
}

/// Judges one ended connection.
#[must_use]
pub(crate) fn judge(case: &Case<'_>) -> Verdict {
    let signs = Signs::read(case);
    let known = case
        .history
        .and_then(|history| Some((history, history.end?)));
    let mut verdict = match known {
        Some((history, end)) => observed::observed(case, history, end, &signs),
        None => inferred::inferred(case, &signs),
    };
    if let After::Reset(reason) = case.after {
        verdict.rst = Some(Rst::By {
            side: Side::Local,
            reason: Some(reason),
            listener: false,
        });
        // What arrived too late was discarded uncounted.
        verdict.bytes.unread = None;
    }
    if case.mptcp {
        // What send() took, and what recv() did not, is the whole connection's affair;
        // and what this subflow lost another one may have brought.
        verdict.bytes = Bytes {
            acked: verdict.bytes.acked,
            received: verdict.bytes.received,
            ..Bytes::default()
        };
    }
    verdict
}

fn counts(socket: &Socket) -> Option<Counters> {
    socket.info.and_then(|info| info.counts)
}

#[cfg(test)]
mod tests;
