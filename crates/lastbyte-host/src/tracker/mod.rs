//! Follows each connection by its cookie and says how it ended. Pure logic: no
//! clock, no I/O; whoever drives it brings the evidence and carries out the
//! look-ups it asks for.
//!
//! Everything it keeps is bounded, by the number of living sockets or by the
//! limits below, whichever is less.

mod gaps;
mod numbers;
mod recent;
mod steps;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};

use crate::ending::{Ending, Evidence, Manner};
use crate::evidence::history::{History, Nanos};
use crate::evidence::last_sample::LastSample;
use crate::evidence::payload::{control_bytes, has_queued_fin};
use crate::judge::{After, Case, Verdict, judge};
use crate::parse::inet_diag::Socket;
use crate::process::Process;
use crate::reason::Reason;
use crate::tuple::{Place, State, Tuple};
use gaps::Gaps;
use numbers::ByNumber;
use recent::Recent;

/// Living sockets followed through tracepoints.
const HISTORIES: usize = 1 << 17;
/// Living sockets remembered from dumps.
pub(crate) const SAMPLES: usize = 1 << 18;
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
/// First wait before looking again whether the peer's FIN has come.
const LOOK_AGAIN: Nanos = SECOND / 20;
/// The longest wait between two such looks: well below the 60 s that a TIME_WAIT
/// socket stays to be seen.
const LOOK_AGAIN_AT_MOST: Nanos = 5 * SECOND;
/// Longer than any FIN_WAIT2 lasts without a descriptor: 60 s, and room.
const FIN_WAIT2_AT_MOST: Nanos = 90 * SECOND;
/// Looks this close together cannot miss a TIME_WAIT between them.
const TIME_WAIT_LASTS: Nanos = 50 * SECOND;
/// RSTs for no connection, kept until they are taken.
const STRAYS: usize = 1 << 12;
/// An RST that answers a segment goes out a moment after the socket is destroyed.
const MOMENT: Nanos = SECOND / 100;
/// How far the kernel's word on when a socket expires can be off: it counts in ticks.
const TICKS: Nanos = SECOND / 50;

/// The tracker.
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

/// An ending whose last word is not spoken: the peer's FIN may come, or
/// something else that is answered with an RST.
#[derive(Debug)]
struct Waiting {
    socket: Socket,
    history: Option<Box<History>>,
    sample: Option<Box<LastSample>>,
    at: Nanos,
    /// When the destroy notice came.
    told: Nanos,
    step: Nanos,
    last: After,
    /// When it was in FIN_WAIT2 for certain, and when the kernel will let it go.
    held: Option<(Nanos, Nanos)>,
    /// When it was found to be there no more.
    gone: Option<Nanos>,
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

    /// Whether which ports listen would tell more of some of these destroy notices: only
    /// one of SYN and FIN is among what was acknowledged.
    #[must_use]
    pub(crate) fn wants_listeners(&self, notices: &[(Nanos, Socket)]) -> bool {
        notices.iter().any(|(_, socket)| {
            let counts = socket.info.and_then(|info| info.counts);
            let control = counts.and_then(|counts| control_bytes(&counts, socket.wqueue));
            let sample = self.samples.get(&socket.cookie);
            let known = self.listens_in(socket.space, socket.tuple.local.port)
                || self.dead.contains_key(&socket.cookie)
                || sample.is_some_and(|sample| sample.role.is_some());
            control == Some(1) && !known
        })
    }

    /// Whether a port was seen listening, in any network namespace that is watched.
    #[must_use]
    pub(crate) fn listens(&self, port: u16) -> bool {
        self.listening.values().any(|ports| has(ports, port))
    }

    /// Whether a port was seen listening in a network namespace.
    #[must_use]
    pub(crate) fn listens_in(&self, space: u32, port: u16) -> bool {
        self.listening
            .get(&space)
            .is_some_and(|ports| has(ports, port))
    }

    fn set_listening(&mut self, space: u32, port: u16) {
        let ports = self.listening.entry(space);
        let ports = ports.or_insert_with(|| Box::new([0; 1024]));
        ports[usize::from(port) / 64] |= 1 << (port % 64);
    }

    fn forget_dead(&mut self, cookie: u64) -> Option<Box<History>> {
        let (sk, history) = self.dead.remove(&cookie)?;
        if self.dead_sk.get(&sk) == Some(&cookie) {
            self.dead_sk.remove(&sk);
        }
        Some(history)
    }

    /// A dump begins: what it does not show again is forgotten at its end.
    pub(crate) fn begin_round(&mut self, at: Nanos) {
        self.round_began = at;
        self.round = self.round.wrapping_add(1);
    }

    /// A row of the dump.
    pub(crate) fn row(&mut self, at: Nanos, socket: &Socket) {
        self.listener(socket);
        let before = self.samples.get(&socket.cookie).map(|sample| &**sample);
        if before.is_none() && self.samples.len() >= SAMPLES {
            self.counts.unfollowed += 1;
            return;
        }
        let sample = LastSample::new(at, (self.round, self.round_began), socket, before);
        self.samples.insert(socket.cookie, Box::new(sample));
    }

    /// A listener, seen between two dumps.
    pub(crate) fn listener(&mut self, socket: &Socket) {
        if socket.state == State::Listen {
            self.set_listening(socket.space, socket.tuple.local.port);
        }
    }

    /// The dump is over. `owner` tells who holds an inode, and by which
    /// descriptor.
    pub(crate) fn end_round(&mut self, mut owner: impl FnMut(u32) -> Option<(Process, u32)>) {
        let round = self.round;
        // One round's grace: the destroy notice of a socket that just left the table
        // may still be on its way, and a socket that ended but is held open
        // leaves the table long before.
        let joined = self.joined;
        self.samples.retain(|_, sample| {
            round.wrapping_sub(sample.round) <= 1
                || sample.at >= joined
                || sample.inode != 0 && round.wrapping_sub(sample.round) <= 60
        });
        for sample in self
            .samples
            .values_mut()
            .filter(|sample| sample.round == round)
        {
            if sample.inode != 0 {
                sample.owner = owner(sample.inode).or(sample.owner);
            }
        }
    }

    /// Whether a living socket has a descriptor but no known owner.
    #[must_use]
    pub(crate) fn owners_wanted(&self) -> bool {
        self.samples
            .values()
            .any(|s| s.round == self.round && s.inode != 0 && s.owner.is_none())
    }

    /// The kernel's destroy notice of a socket.
    pub(crate) fn destroy_notice(&mut self, at: Nanos, socket: &Socket) {
        self.spaces.insert(socket.space);
        let history = self.forget_dead(socket.cookie);
        let sample = self.samples.remove(&socket.cookie);
        let known = history.as_deref();
        let was_connection = known.is_some_and(|history| history.opened.is_some())
            || match socket.info.and_then(|info| info.counts) {
                Some(counts) => counts.was_established(),
                None => socket.tuple.remote.port != 0,
            };
        if !was_connection {
            let unused = socket.wqueue == 0 && !socket.tuple.remote.has_ip();
            if unused && socket.tuple.local.port != 0 {
                self.set_listening(socket.space, socket.tuple.local.port);
            }
            self.counts.not_connections += 1;
            return;
        }
        let ended = known.and_then(|history| history.end);
        let waiting = Waiting {
            socket: *socket,
            history,
            sample,
            at: ended.map_or(at, |end| end.at),
            told: at,
            step: LOOK_AGAIN,
            last: After::NotAsked,
            held: None,
            gone: None,
        };
        let verdict = self.judge(&waiting);
        let asks = verdict.ask && socket.tuple.is_whole();
        if asks && self.waiting.len() >= WAITING {
            self.counts.unasked += 1;
        } else if asks {
            let already = self
                .resets
                .find(&socket.tuple)
                .filter(|(when, (reason, _))| {
                    *when >= waiting.at && *reason == Some(Reason::TIMEWAIT_SOCKET)
                });
            if let Some((_, (Some(reason), _))) = already {
                self.finish(&Waiting {
                    last: After::Reset(reason),
                    ..waiting
                });
                return;
            }
            // The same ends again: the earlier connection is over for certain.
            let place = waiting.place();
            if let Some(earlier) = self.waiting.get_mut(&place) {
                if earlier.gone.is_none() {
                    // How, nobody saw.
                    earlier.last = After::Nothing;
                }
                self.conclude(place);
            }
            self.waiting.insert(place, Box::new(waiting));
            self.queries.push_back(place);
            return;
        }
        self.finish(&waiting);
    }

    /// The look-ups that are due, at most `limit`: what does the kernel hold for
    /// these ends? Each is answered by [`answer`](Self::answer).
    pub(crate) fn queries(&mut self, now: Nanos, limit: usize) -> Vec<Place> {
        while let Some(Reverse((due, place))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            if self.waiting.contains_key(&place) {
                self.queries.push_back(place);
            }
        }
        let count = self.queries.len().min(limit);
        self.queries.drain(..count).collect()
    }

    /// When the next look-up is due.
    #[must_use]
    pub(crate) fn next_query(&self) -> Option<Nanos> {
        if self.queries.is_empty() {
            return self.due.peek().map(|Reverse((due, _))| *due);
        }
        Some(0)
    }

    /// Asks once more about every ending that waits: the watch is about to end.
    pub(crate) fn ask_all(&mut self) {
        self.due.clear();
        let open = self.waiting.iter().filter(|(_, w)| w.gone.is_none());
        self.queries = open.map(|(place, _)| *place).collect();
    }

    /// What the kernel holds for these ends now, if anything.
    pub(crate) fn answer(&mut self, now: Nanos, place: Place, held: Option<&Socket>) {
        let Some(waiting) = self.waiting.get_mut(&place) else {
            return;
        };
        match held.map(|socket| (socket.state, socket.expires_ms)) {
            Some((State::TimeWait, _)) => waiting.last = After::TimeWait,
            Some((State::FinWait2, expires_ms)) => {
                let until = now.saturating_add(u64::from(expires_ms) * 1_000_000);
                waiting.last = After::FinWait2;
                waiting.held = Some((now, until));
                if now.saturating_sub(waiting.at) < FIN_WAIT2_AT_MOST {
                    let due = (now + waiting.step).min(until + TICKS);
                    waiting.step = (waiting.step * 2).min(LOOK_AGAIN_AT_MOST);
                    self.due.push(Reverse((due, place)));
                    return;
                }
            }
            other => {
                // Had it been in FIN_WAIT2 to the last, the peer's FIN never came.
                // Where there is a new connection instead, it may have ended its
                // TIME_WAIT.
                let to_the_last = waiting.held.is_some_and(|(looked, until)| {
                    now.saturating_sub(looked) < TIME_WAIT_LASTS && now + TICKS >= until
                });
                waiting.last = match to_the_last && other.is_none() {
                    true => After::Expired,
                    false => After::Nothing,
                };
                // The RST that ended it may be on its way to us.
                if self.tracing && waiting.gone.is_none() {
                    waiting.gone = Some(now);
                    self.settling.push_back((now, place));
                    return;
                }
            }
        }
        self.conclude(place);
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

    /// The watch is over: tells what is known of the endings that still wait.
    pub(crate) fn flush(&mut self) {
        let places: Vec<_> = self.waiting.keys().copied().collect();
        for place in places {
            self.conclude(place);
        }
    }

    /// A network namespace is watched no more: tells what is known of its endings.
    pub(crate) fn leave(&mut self, space: u32) {
        let places = self.waiting.keys().filter(|place| place.space == space);
        let places: Vec<_> = places.copied().collect();
        for place in places {
            self.conclude(place);
        }
        self.listening.remove(&space);
        self.spaces.remove(&space);
    }

    /// The ending that waits with these ends, in whichever network namespace; `None`
    /// where there are several, as the kernel does not say which one it means.
    fn waiting_somewhere(&self, tuple: Tuple) -> Option<Place> {
        let places = self.spaces.iter().map(|space| Place {
            space: *space,
            tuple,
        });
        let mut waiting = places.filter(|place| self.waiting.contains_key(place));
        let found = waiting.next()?;
        waiting.next().is_none().then_some(found)
    }

    fn conclude(&mut self, place: Place) {
        if let Some(waiting) = self.waiting.remove(&place) {
            self.finish(&waiting);
        }
    }

    fn judge(&self, waiting: &Waiting) -> Verdict {
        let tuple = whole(waiting);
        let history = waiting.history.as_deref();
        // Another connection may have had the same ends a moment earlier.
        let opened = history.and_then(|history| history.opened).unwrap_or(0);
        let errno = history
            .and_then(|_| self.errors.find(&tuple))
            .filter(|(when, _)| *when >= opened);
        let peer_reason = self
            .resets
            .find(&tuple.reversed())
            .filter(|(when, _)| *when >= opened);
        judge(&Case {
            socket: &waiting.socket,
            history,
            blind: history.is_some_and(|history| self.was_blind(history, waiting.last)),
            sample: waiting.sample.as_deref(),
            mptcp: self.is_mptcp(waiting) == Some(true),
            at: waiting.at,
            told: waiting.told,
            port_listens: self.listens_in(waiting.socket.space, waiting.socket.tuple.local.port),
            errno: errno.map(|(_, errno)| errno),
            peer_reason: peer_reason.map(|(_, reason)| reason),
            peer_reset_later: peer_reason.is_some_and(|(when, _)| when >= waiting.at),
            after: waiting.last,
        })
    }

    /// Whether it is a subflow of an MPTCP connection; `None` where that cannot be
    /// seen: of a further subflow that no look has shown.
    fn is_mptcp(&self, waiting: &Waiting) -> Option<bool> {
        let history = waiting.history.as_deref();
        let opened = history.and_then(|history| history.opened).unwrap_or(0);
        let named = history.is_some()
            && self
                .mptcp
                .find(&whole(waiting))
                .is_some_and(|(when, ())| when >= opened);
        let sample = waiting.sample.as_deref().map(|sample| sample.mptcp);
        if named { Some(true) } else { sample }
    }

    /// Whether an RST, or what else ended the connection, may have gone unseen. A
    /// gap before the state that it left last is of no matter: an RST would have
    /// ended it then.
    fn was_blind(&self, history: &History, last: After) -> bool {
        let Some(end) = history.end else { return false };
        if end.at < self.certain_since() {
            return true;
        }
        let Some(since) = end.whole_since else {
            let missing = history.broken || self.gaps.any() || self.counts.unfollowed > 0;
            return missing;
        };
        // While the peer's FIN is waited for, one may still come.
        let until = match (last, history.destroyed) {
            (After::NotAsked | After::TimeWait, Some((at, _))) => at.saturating_add(MOMENT),
            _ => Nanos::MAX,
        };
        self.gaps.touch(since, until)
    }

    fn finish(&mut self, waiting: &Waiting) {
        let verdict = self.judge(waiting);
        let mptcp = self.is_mptcp(waiting);
        let history = waiting.history.as_ref();
        // Whoever ran when it ended may have met a peer's RST that went unseen.
        let closer = history.and_then(|history| {
            let by_end = history.end.is_some_and(|end| !has_queued_fin(end.from));
            // Nor has one that was at the socket when a timer ran out: the kernel waits
            // for it to leave, and then gives up in its name.
            let by_timer = verdict.error.is_some() && history.destroyer.is_none();
            let unsure = by_end && (by_timer || self.was_blind(history, waiting.last));
            // A subflow is closed by a thread of the kernel, whoever closed the whole.
            let closer = history.closer.or(history.destroyer);
            closer.filter(|_| !unsure && mptcp != Some(true))
        });
        let mut states = history.filter(|s| s.end.is_some()).map(|s| s.times);
        if let (Some(states), Some(end)) = (&mut states, history.and_then(|s| s.end)) {
            // It went on in a smaller socket, whose time nobody tells, unless
            // our RST ended it.
            let moved = end.from == State::FinWait2
                && !matches!(waiting.last, After::NotAsked | After::Reset(_));
            if moved {
                states.fin_wait2 = None;
            }
        }
        let owner = waiting
            .sample
            .as_ref()
            .and_then(|sample| sample.owner.map(|(process, _)| process));
        let from_history = history.and_then(|history| {
            if history.listener_closed {
                None
            } else if mptcp == Some(true) {
                history.opener
            } else {
                history.closer.or(history.opener).or(history.releaser)
            }
        });
        self.finished.push(Finished {
            at: waiting.at,
            opened: history.and_then(|history| history.opened),
            space: waiting.socket.space,
            ending: Ending {
                time: std::time::UNIX_EPOCH,
                opened: None,
                tuple: whole(waiting),
                owner: owner.or(from_history),
                closer,
                fate: verdict.fate,
                error: verdict.error,
                closed_first: verdict.closed_first,
                rst: verdict.rst,
                bytes: verdict.bytes,
                mptcp,
                netns: None,
                cgroup: None,
                states,
                evidence: if self.tracing {
                    verdict.evidence
                } else {
                    Evidence::Inferred
                },
                manner: Manner {
                    role: history
                        .and_then(|history| history.role)
                        .or(waiting.sample.as_ref().and_then(|sample| sample.role)),
                    held: history.and_then(|history| history.outlived_end()),
                    half_closed: history.and_then(|history| history.let_go_half_closed()),
                    peer_closed: history.and_then(|history| history.ended_after_peers_fin()),
                },
            },
        });
    }
}

impl Waiting {
    fn place(&self) -> Place {
        let Socket { space, tuple, .. } = self.socket;
        Place { space, tuple }
    }
}

fn has(ports: &[u64; 1024], port: u16) -> bool {
    ports[usize::from(port) / 64] & (1 << (port % 64)) != 0
}

/// The ends, completed from what was known before the kernel cleared them.
fn whole(waiting: &Waiting) -> Tuple {
    let tuple = waiting.socket.tuple;
    if tuple.is_whole() {
        return tuple;
    }
    let history = waiting.history.as_ref().map(|history| history.tuple);
    let sample = waiting.sample.as_ref().map(|sample| sample.tuple);
    history
        .filter(Tuple::is_whole)
        .or(sample.filter(Tuple::is_whole))
        .unwrap_or(tuple)
}

#[cfg(test)]
mod tests;
