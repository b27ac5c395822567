//! What was seen during the look: data, no I/O.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use lastbyte::{Fate, Side};

use crate::event::{Ending, Rst};
use crate::parse::procnet::Counters;
use crate::process::Process;
use crate::reason::Reason;
use crate::tuple::{Endpoint, State, Tuple};

/// Everything the findings are made from.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    /// How long the look took.
    pub window: Duration,
    /// What could not be seen, and what would add it.
    pub notes: Vec<String>,
    /// Sockets in a closing state at the end of the look.
    pub stuck: Vec<Stuck>,
    /// TIME_WAIT sockets by direction.
    pub time_wait: BTreeMap<Direction, TimeWait>,
    /// Endings by process: data lost though close() succeeded.
    pub lost: BTreeMap<(Option<Process>, Cause), Group>,
    /// Endings by process: reset because input was unread at close.
    pub unread: BTreeMap<Option<Process>, Group>,
    /// Un-accepted connections reset by the close of their listener.
    pub never_accepted: BTreeMap<Option<Process>, Group>,
    /// Listeners whose queue of connections to accept is full: port, queued,
    /// backlog, owner.
    pub full_backlogs: Vec<(u16, u32, u32, Option<Process>)>,
    /// Counters at the start and at the end.
    pub before: Counters,
    /// Counters at the end.
    pub after: Counters,
    /// The first and last port for connecting out, `ip_local_port_range`.
    pub ports: (u16, u16),
    /// `tcp_tw_reuse`, where it can be read.
    pub tw_reuse: Option<i64>,
    /// `tcp_max_tw_buckets`, where it can be read.
    pub max_tw_buckets: Option<i64>,
    /// `tcp_max_orphans`: only the first network namespace has it.
    pub max_orphans: Option<i64>,
    /// Endings seen.
    pub endings: u64,
}

/// A socket that is closing.
#[derive(Clone, Copy, Debug)]
pub struct Stuck {
    /// Its ends.
    pub tuple: Tuple,
    /// The state.
    pub state: State,
    /// For how long, at least.
    pub age: Duration,
    /// Who holds it.
    pub owner: Option<Process>,
    /// By which descriptor.
    pub fd: Option<u32>,
    /// Whether a descriptor holds it at all.
    pub held: bool,
    /// Received, unread; an unread FIN is one.
    pub rqueue: u32,
    /// Sent, unacknowledged.
    pub wqueue: u32,
}

/// TIME_WAIT sockets that share what a new connection would have to differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// We connected: from this address to that destination; the local ports are
    /// what runs out.
    Out {
        /// Our address.
        from: IpAddr,
        /// The destination.
        to: Endpoint,
    },
    /// We accepted, on this port.
    In {
        /// Our end.
        on: Endpoint,
    },
}

/// How many, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeWait {
    /// At the start of the look.
    pub before: u64,
    /// At the end.
    pub after: u64,
    /// Who closed first, and how often, during the look.
    pub closers: BTreeMap<Process, u64>,
}

/// Why a successful close lost data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The peer reset the orphan.
    PeerReset,
    /// Data of the peer arrived after close().
    LateInput,
    /// Input was unread at close().
    UnreadInput,
    /// The peer answered nothing any more.
    Silence,
    /// Something else ended it.
    Other,
}

/// Endings alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub connections: u64,
    /// Bytes lost, as far as known.
    pub lost: u64,
    /// One of them.
    pub example: Option<Tuple>,
}

impl Group {
    fn add(&mut self, ending: &Ending) {
        self.connections += 1;
        self.lost += ending.bytes.lost.unwrap_or(0);
        self.example.get_or_insert(ending.tuple);
    }
}

impl Observations {
    /// Takes an ending into account.
    pub fn ending(&mut self, ending: &Ending, listens: bool) {
        self.endings += 1;
        let by = ending.closer.or(ending.owner);
        let (side, reason, listener) = match ending.rst {
            Some(Rst::By {
                side,
                reason,
                listener,
            }) => (Some(side), reason, listener),
            _ => (None, None, false),
        };
        let ours = side == Some(Side::Local);
        if ours && listener {
            self.never_accepted
                .entry(ending.closer)
                .or_default()
                .add(ending);
            return;
        }
        let unread = ours && reason == Some(Reason::ABORT_ON_CLOSE);
        if unread {
            self.unread.entry(by).or_default().add(ending);
        }
        // An abort by on+0 was asked for; all else was told that it succeeded.
        let asked = ours && reason == Some(Reason::STATE);
        let after_close = ending.closer.is_some() && ending.closed_first == Some(Side::Local);
        if after_close && !asked && ending.bytes.lost.unwrap_or(0) > 0 {
            let cause = match (side, reason) {
                (Some(Side::Peer), _) => Cause::PeerReset,
                (_, Some(Reason::ABORT_ON_DATA)) => Cause::LateInput,
                _ if unread => Cause::UnreadInput,
                _ if ending.fate == Some(Fate::Failed) => Cause::Silence,
                _ => Cause::Other,
            };
            self.lost.entry((by, cause)).or_default().add(ending);
        }
        if ending.closed_first == Some(Side::Local)
            && ending.fate == Some(Fate::Confirmed)
            && let Some(closer) = by
            && let Some(time_wait) = self.time_wait(direction(&ending.tuple, listens))
        {
            *time_wait.closers.entry(closer).or_default() += 1;
        }
    }

    /// The entry of a direction, while there is room for it.
    pub fn time_wait(&mut self, direction: Direction) -> Option<&mut TimeWait> {
        const DIRECTIONS: usize = 1 << 14;
        if self.time_wait.len() >= DIRECTIONS && !self.time_wait.contains_key(&direction) {
            return None;
        }
        Some(self.time_wait.entry(direction).or_default())
    }

    /// How much a counter grew during the look.
    #[must_use]
    pub fn grown(&self, name: &str) -> u64 {
        let at = |counters: &Counters| counters.get(name).copied().unwrap_or(0);
        u64::try_from(at(&self.after) - at(&self.before)).unwrap_or(0)
    }
}

/// Which way a connection went.
pub(super) fn direction(tuple: &Tuple, listens: bool) -> Direction {
    if listens {
        Direction::In { on: tuple.local }
    } else {
        Direction::Out {
            from: tuple.local.ip,
            to: tuple.remote,
        }
    }
}
