//! Connections whose end is worth a word: data, no I/O.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use lastbyte::{Fate, Side};

use super::party::{Party, process};
use crate::ending::{Ending, Rst};
use crate::reason::Reason;
use crate::tuple::Tuple;

/// How a connection came to its end, from this end's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// We closed a listener before anybody had accepted it.
    ListenerClosed,
    /// We closed it with input unread.
    UnreadInput,
    /// We had closed, and the peer sent more.
    LateInput,
    /// We aborted it: SO_LINGER on and zero, or a disconnect.
    Aborted,
    /// The peer reset it.
    PeerReset,
    /// The kernel gave it up: the peer did not answer.
    GivenUp,
    /// Our RST, for another reason.
    Other,
}

/// One such end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Close {
    /// When it ended.
    pub at: SystemTime,
    /// Its ends.
    pub tuple: Tuple,
    /// Whose end it is.
    pub party: Party,
    /// The process.
    pub pid: Option<u32>,
    /// How it ended.
    pub act: Act,
    /// Whether the peer's FIN had come before.
    pub peer_closed: bool,
    /// Accepted by send() and lost.
    pub lost: Option<u64>,
    /// Arrived and never read.
    pub unread: Option<u64>,
    /// Whether close() had returned success before: nobody was left to be told.
    pub untold: bool,
    /// Whether it had shut down its sending side before it let go.
    pub half_closed: bool,
}

impl Close {
    /// `None` where nothing is to be said of it.
    #[must_use]
    pub(crate) fn of(ending: &Ending, party: Party) -> Option<Self> {
        Some(Self {
            at: ending.time,
            tuple: ending.tuple,
            party,
            pid: process(ending).map(|process| process.pid),
            act: act(ending)?,
            peer_closed: ending.manner.peer_closed == Some(true),
            lost: ending.bytes.lost,
            unread: ending.bytes.unread,
            untold: ending.closer.is_some() && ending.manner.held == Some(false),
            half_closed: ending.manner.half_closed == Some(true),
        })
    }

    /// Whether it is known to have lost something.
    #[must_use]
    pub(crate) fn has_lost(&self) -> bool {
        self.lost.is_some_and(|lost| lost > 0)
    }
}

fn act(ending: &Ending) -> Option<Act> {
    match ending.rst {
        Some(Rst::By {
            side: Side::Local,
            listener: true,
            ..
        }) => Some(Act::ListenerClosed),
        Some(Rst::By {
            side: Side::Local,
            reason,
            ..
        }) => Some(match reason {
            Some(Reason::ABORT_ON_CLOSE) => Act::UnreadInput,
            Some(Reason::ABORT_ON_DATA | Reason::TIMEWAIT_SOCKET) => Act::LateInput,
            Some(Reason::STATE) => Act::Aborted,
            // The RST tells a peer that may be there again.
            Some(Reason::KEEPALIVE_TIMEOUT) => Act::GivenUp,
            _ => Act::Other,
        }),
        Some(Rst::By {
            side: Side::Peer, ..
        }) => Some(Act::PeerReset),
        _ if ending.fate == Some(Fate::Failed) => Some(Act::GivenUp),
        _ => None,
    }
}

/// An RST and the end that it hit lie no further apart than this.
const TOGETHER: Duration = Duration::from_secs(10);

/// For each of these closes the one at the other end that its RST hit, where that is
/// on this host.
#[must_use]
pub(super) fn victims(closes: &[Close]) -> Vec<Option<usize>> {
    let mut hit: HashMap<Tuple, Vec<usize>> = HashMap::new();
    for (number, close) in closes.iter().enumerate() {
        if close.act == Act::PeerReset && close.tuple.is_whole() {
            hit.entry(close.tuple).or_default().push(number);
        }
    }
    let mut found = vec![None; closes.len()];
    for (number, close) in closes.iter().enumerate() {
        if matches!(close.act, Act::PeerReset | Act::GivenUp) {
            continue;
        }
        let Some(candidates) = hit.get_mut(&close.tuple.reversed()) else {
            continue;
        };
        // The same ends may have had several connections, one after the other.
        let apart = |other: usize| apart(closes[other].at, close.at);
        let nearest = (0..candidates.len()).min_by_key(|at| apart(candidates[*at]));
        if let Some(at) = nearest.filter(|at| apart(candidates[*at]) <= TOGETHER) {
            found[number] = Some(candidates.swap_remove(at));
        }
    }
    found
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other)
        .unwrap_or_else(|earlier| earlier.duration())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Endpoint;

    fn close(act: Act, local: u16, remote: u16, at: u64) -> Close {
        let end = |port| Endpoint::new([10, 0, 0, 1].into(), port);
        Close {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
            tuple: Tuple {
                local: end(local),
                remote: end(remote),
            },
            party: Party::default(),
            pid: None,
            act,
            peer_closed: false,
            lost: None,
            unread: None,
            untold: false,
            half_closed: false,
        }
    }

    #[test]
    fn a_victim_is_the_other_end_at_the_same_time_and_hit_once() {
        let closes = [
            close(Act::PeerReset, 40000, 80, 100),
            close(Act::UnreadInput, 80, 40000, 101),
            close(Act::PeerReset, 40000, 80, 160),
            close(Act::LateInput, 80, 40000, 161),
            close(Act::LateInput, 80, 40000, 162),
            close(Act::UnreadInput, 80, 40001, 101),
        ];
        let expected = [None, Some(0), None, Some(2), None, None];
        assert_eq!(victims(&closes), expected);
    }
}
