//! What was seen during the look: data, no I/O.

use std::collections::BTreeMap;
use std::time::Duration;

use lastbyte::{Fate, Side};

use super::close::Close;
use super::party::{Party, process};
use super::stray_resets::Strays;
use crate::ending::Ending;
use crate::losses::Losses;
use crate::parse::procnet::Counters;
use crate::process::Process;
use crate::time_wait::Direction;
use crate::tuple::{Endpoint, PortRange, State, Tuple};

/// Ends that are kept for the findings.
const CLOSES: usize = 1 << 16;
/// Programs and ports that are told apart.
const PARTIES: usize = 1 << 14;

/// What was observed, from which [`findings`](super::findings) are made.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    /// For how long was watched.
    pub window: Duration,
    /// What could not be seen, and what would add it.
    pub(crate) notes: Vec<String>,
    /// What was dropped, or not followed, during the look.
    pub(crate) losses: Losses,
    /// Whether whoever looks is root.
    pub(crate) root: bool,
    /// Sockets in a closing state at the end of the look, and those that wait to be
    /// accepted.
    pub(crate) stuck: Vec<Stuck>,
    /// Listeners at the end of the look.
    pub(crate) listeners: Vec<Listener>,
    /// TIME_WAIT sockets by direction.
    pub(crate) time_wait: BTreeMap<Direction, TimeWaitCounts>,
    /// Ends of connections that are worth a word.
    pub(crate) closes: Vec<Close>,
    /// How many more there were than are kept.
    pub(crate) closes_beyond: u64,
    /// Endings by program and port.
    pub(crate) endings_of: BTreeMap<Party, u64>,
    /// RSTs that answered segments of unknown connections.
    pub(crate) strays: Strays,
    /// Counters at the start and at the end.
    pub(crate) before: Counters,
    /// Counters at the end.
    pub(crate) after: Counters,
    /// The local ports that connect() chooses from, where they can be read.
    pub(crate) ports: Option<PortRange>,
    /// `tcp_tw_reuse`, where it can be read.
    pub(crate) tw_reuse: Option<i64>,
    /// `tcp_max_tw_buckets`, where it can be read.
    pub(crate) max_tw_buckets: Option<i64>,
    /// `tcp_max_orphans`: only the first network namespace has it.
    pub(crate) max_orphans: Option<i64>,
    /// `tcp_migrate_req`, where it can be read.
    pub(crate) migrate_req: Option<i64>,
    /// Endings seen.
    pub endings: u64,
}

/// A socket that is closing, or that nobody has accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stuck {
    /// Its ends.
    pub tuple: Tuple,
    /// The state.
    pub state: State,
    /// For how long, at least.
    pub age: Duration,
    /// Who holds it.
    pub owner: Option<Process>,
    /// Whose end it is.
    pub party: Party,
    /// By which descriptor.
    pub fd: Option<u32>,
    /// Whether a descriptor holds it at all.
    pub held: bool,
    /// Who started the process that holds it, where that seems to have inherited it.
    pub inherited: Option<Inherited>,
    /// Received, unread; an unread FIN is one.
    pub rqueue: u32,
    /// Sent, unacknowledged.
    pub wqueue: u32,
}

/// A descriptor that came with the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// The process that started the holder, while it lives.
    pub from: Option<Process>,
}

impl Stuck {
    /// Whether it waits in a listener's backlog. The kernel completes handshakes on its
    /// own; an orphan is never in these states.
    #[must_use]
    pub(crate) fn is_unaccepted(&self) -> bool {
        !self.held && matches!(self.state, State::Established | State::CloseWait)
    }
}

/// A listening socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    /// Where it listens.
    pub on: Endpoint,
    /// Connections that wait to be accepted.
    pub queued: u32,
    /// How many may.
    pub backlog: u32,
    /// Who holds it.
    pub owner: Option<Process>,
}

impl Listener {
    /// Whether a connection to this end comes to it.
    #[must_use]
    pub(crate) fn takes(&self, local: Endpoint) -> bool {
        self.on.port == local.port && (!self.on.has_ip() || self.on.ip == local.ip)
    }
}

/// How many sockets of one direction are in TIME_WAIT, and who closed first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeWaitCounts {
    /// At the start of the look.
    pub before: u64,
    /// At the end.
    pub after: u64,
    /// Who closed first, and how often, during the look.
    pub closers: BTreeMap<Process, u64>,
}

impl Observations {
    /// Takes an ending into account; `listens` tells of a port whether it was seen
    /// listening.
    pub(crate) fn ending(&mut self, ending: &Ending, listens: impl Fn(u16) -> bool) {
        self.endings += 1;
        self.strays.ended(&ending.tuple);
        let party = Party::of_ending(ending, &listens);
        if self.endings_of.len() < PARTIES || self.endings_of.contains_key(&party) {
            *self.endings_of.entry(party).or_default() += 1;
        }
        if let Some(close) = Close::of(ending, party) {
            if self.closes.len() < CLOSES {
                self.closes.push(close);
            } else {
                self.closes_beyond += 1;
            }
        }
        if ending.closed_first == Some(Side::Local)
            && ending.fate == Some(Fate::Confirmed)
            && let Some(closer) = process(ending)
            && let Some(time_wait) = self.time_wait(Direction::of(
                &ending.tuple,
                listens(ending.tuple.local.port),
            ))
        {
            *time_wait.closers.entry(closer).or_default() += 1;
        }
    }

    /// The entry of a direction, while there is room for it.
    pub(crate) fn time_wait(&mut self, direction: Direction) -> Option<&mut TimeWaitCounts> {
        const DIRECTIONS: usize = 1 << 14;
        if self.time_wait.len() >= DIRECTIONS && !self.time_wait.contains_key(&direction) {
            return None;
        }
        Some(self.time_wait.entry(direction).or_default())
    }

    /// Returns a sentence on what may be missing from the findings because it came too fast
    /// or was too much; `None` where nothing is.
    #[must_use]
    pub fn missed(&self) -> Option<String> {
        let Losses {
            endings,
            steps,
            unfollowed,
            unasked,
        } = self.losses;
        let (endings, steps) = (endings.in_all(), steps.in_all());
        if endings + steps + unfollowed + unasked + self.closes_beyond == 0 {
            return None;
        }
        Some(format!(
            "findings may be missing: {endings} endings dropped, {steps} steps missed, \
             {unfollowed} sockets not followed, {unasked} not waited for, {} ends not kept",
            self.closes_beyond
        ))
    }

    /// Returns whether everything was seen that findings are made from.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.notes.is_empty() && self.missed().is_none()
    }

    /// Returns how many sockets are closing, or wait to be accepted, at the end.
    #[must_use]
    pub fn closing(&self) -> usize {
        self.stuck.len()
    }

    /// How much a counter grew during the look.
    #[must_use]
    pub(crate) fn grown(&self, name: &str) -> u64 {
        let at = |counters: &Counters| counters.get(name).copied().unwrap_or(0);
        u64::try_from(at(&self.after) - at(&self.before)).unwrap_or(0)
    }

    /// Whether something listens on this port at the end of the look.
    pub(super) fn still_listens(&self, port: u16) -> bool {
        self.listeners
            .iter()
            .any(|listener| listener.on.port == port)
    }
}
