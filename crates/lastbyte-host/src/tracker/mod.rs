//! Follows each connection by its cookie and says how it ended. Pure logic: no
//! clock, no I/O; whoever drives it brings the evidence and carries out the
//! look-ups it asks for.
//!
//! Everything it keeps is bounded, by the number of living sockets or by the
//! limits below, whichever is less.

mod dumps;
mod endings;
mod gaps;
mod notices;
mod numbers;
mod recent;
mod steps;
mod waiting;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};

use crate::ending::Ending;
use crate::evidence::history::{History, Nanos};
use crate::evidence::last_sample::LastSample;
use crate::reason::Reason;
use crate::tuple::{Place, Tuple};
use gaps::Gaps;
use numbers::ByNumber;
use recent::Recent;
use waiting::Waiting;

/// Living sockets followed through tracepoints.
const HISTORIES: usize = 1 << 17;
/// Living sockets remembered from dumps.
const SAMPLES: usize = 1 << 18;
/// Endings that wait for the peer's FIN.
const WAITING: usize = 1 << 15;
/// Destroyed sockets whose destroy notice has not come: in a flood the kernel's work
/// queue, which writes them, was seen to fall 66 000 behind.
const DEAD: usize = 1 << 18;
/// Resets and errors remembered for the other end.
const RESETS: usize = 1 << 14;

const SECOND: Nanos = 1_000_000_000;
/// How long a destroyed socket waits for its destroy notice: the kernel writes it from
/// a work queue, at once. Sockets of other network namespaces never have one.
const NOTICE_WAIT: Nanos = 5 * SECOND;
/// How long an RST is remembered for the peer it hits, when that is on this host.
const RESET_MEMORY: Nanos = 10 * SECOND;
/// RSTs for no connection, kept until they are taken.
const STRAYS: usize = 1 << 12;
/// An RST that answers a segment goes out a moment after the socket is destroyed.
const MOMENT: Nanos = SECOND / 100;

/// Joins steps, samples and destroy notices of each socket.
#[derive(Debug)]
pub(crate) struct Tracker {
    tracing: bool,
    // Boxed, as tables keep room to grow in.
    histories: ByNumber<Box<History>>,
    dead: ByNumber<(u64, Box<History>)>,
    dead_sk: ByNumber<u64>,
    dead_order: VecDeque<(Nanos, u64)>,
    samples: ByNumber<Box<LastSample>>,
    round: u32,
    /// When it began.
    round_began: Nanos,
    /// Of each network namespace.
    listening: HashMap<u32, Box<[u64; 1024]>>,
    listener_closing: HashMap<u32, (u64, u16)>,
    resets: Recent<Tuple, (Option<Reason>, bool)>,
    errors: Recent<Tuple, i32>,
    /// Connections of MPTCP, by the ends of their first subflow.
    mptcp: Recent<Tuple, ()>,
    waiting: HashMap<Place, Box<Waiting>>,
    due: BinaryHeap<Reverse<(Nanos, Place)>>,
    queries: VecDeque<Place>,
    /// Endings whose last word is spoken once all up to a moment is joined.
    settling: VecDeque<(Nanos, Place)>,
    finished: Vec<Finished>,
    /// RSTs that answered segments of no connection that is known here.
    strays: Vec<Tuple>,
    counts: Counts,
    /// The network namespaces of what it was told of.
    spaces: BTreeSet<u32>,
    gaps: Gaps,
    /// Since when every tracepoint has been on.
    complete_since: Nanos,
    /// Up to which gap stale histories were looked for.
    cleared: Nanos,
    /// Up to when all is joined.
    joined: Nanos,
}

/// What the tracker itself counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Destroy notices of sockets that never were connections: listeners, failed
    /// connects, sockets never used.
    pub not_connections: u64,
    /// Sockets not followed, or not to their end, because a limit was reached.
    pub unfollowed: u64,
    /// Endings of which was not asked whether the peer closed as well, because too
    /// many were waited for.
    pub unasked: u64,
}

/// An ending in the tracker's clock.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finished {
    /// When the kernel let the connection go.
    pub at: Nanos,
    /// When it was established.
    pub opened: Option<Nanos>,
    /// The network namespace it was in.
    pub space: u32,
    /// All else; its own times are the epoch, to be set from these.
    pub ending: Ending,
}

impl Tracker {
    /// `tracing` tells whether tracepoints will be brought.
    #[must_use]
    pub(crate) fn new(tracing: bool) -> Self {
        Self {
            tracing,
            histories: ByNumber::default(),
            dead: ByNumber::default(),
            dead_sk: ByNumber::default(),
            dead_order: VecDeque::new(),
            samples: ByNumber::default(),
            round: 0,
            round_began: 0,
            listening: HashMap::new(),
            listener_closing: HashMap::new(),
            resets: Recent::new(RESETS),
            errors: Recent::new(RESETS),
            mptcp: Recent::new(RESETS),
            waiting: HashMap::new(),
            due: BinaryHeap::new(),
            queries: VecDeque::new(),
            settling: VecDeque::new(),
            finished: Vec::new(),
            strays: Vec::new(),
            counts: Counts::default(),
            spaces: BTreeSet::new(),
            gaps: Gaps::default(),
            complete_since: 0,
            cleared: 0,
            joined: 0,
        }
    }

    /// The tracepoints, which are switched on one after another, have all been on
    /// since this moment.
    pub(crate) fn complete_since(&mut self, at: Nanos) {
        self.complete_since = at;
    }

    /// Since when nothing of an end can have gone unseen for that reason: an RST or
    /// an error is told a moment before the end or after it.
    #[must_use]
    pub(crate) fn certain_since(&self) -> Nanos {
        match self.complete_since {
            0 => 0,
            since => since.saturating_add(MOMENT),
        }
    }

    /// What it counts.
    #[must_use]
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The living sockets of the last dump.
    pub(crate) fn living(&self) -> impl Iterator<Item = (u64, &LastSample)> {
        self.samples
            .iter()
            .map(|(cookie, sample)| (*cookie, &**sample))
    }

    /// How many endings wait for their last word.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn forget_dead(&mut self, cookie: u64) -> Option<Box<History>> {
        let (sk, history) = self.dead.remove(&cookie)?;
        if self.dead_sk.get(&sk) == Some(&cookie) {
            self.dead_sk.remove(&sk);
        }
        Some(history)
    }

    /// All up to `now` is joined; forgets what is too old to matter.
    pub(crate) fn tick(&mut self, now: Nanos) {
        self.joined = now;
        while let Some((at, place)) = self.settling.front().copied()
            && at <= now
        {
            self.settling.pop_front();
            let still = self.waiting.get(&place);
            if still.is_some_and(|waiting| waiting.gone == Some(at)) {
                self.conclude(place);
            }
        }
        while let Some((at, cookie)) = self.dead_order.front().copied()
            && (now.saturating_sub(at) > NOTICE_WAIT || !self.dead.contains_key(&cookie))
        {
            self.dead_order.pop_front();
            self.forget_dead(cookie);
        }
        self.resets.forget_before(now.saturating_sub(RESET_MEMORY));
        self.errors.forget_before(now.saturating_sub(RESET_MEMORY));
        self.mptcp.forget_before(now.saturating_sub(RESET_MEMORY));
        if self.listener_closing.len() > 1024 {
            self.listener_closing.clear();
        }
    }

    /// Takes the endings that are known by now.
    pub(crate) fn take(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }

    /// Takes the RSTs that answered a segment for which the kernel had no socket, or only
    /// a listener (then the remote end is unknown): a refused SYN is among them.
    pub(crate) fn take_strays(&mut self) -> Vec<Tuple> {
        std::mem::take(&mut self.strays)
    }
}

#[cfg(test)]
mod tests;
