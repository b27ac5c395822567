//! Follows the connections of this host and hands over how each one ended.
//!
//! [`Watcher`] opens what the privilege allows, waits, reads in the order that keeps causes
//! before effects, and hands over each [`Ending`].

mod joining;
mod namespaces;
mod notes;
mod sampling;
mod sources;
mod stop;

use std::io;
use std::time::{Duration, Instant};

use crate::evidence::last_sample::LastSample;
use crate::parse::inet_diag::Socket;
use crate::source::backlog::Batch;
use crate::source::cgroups::Cgroups;
use crate::source::clock;
use crate::source::collector::Collector;
use crate::source::owners::Owners;
use crate::source::tracepoints::Tracepoints;
use crate::tracker::{Finished, Tracker};
use crate::tuple::{Place, State};
use namespaces::Spaces;
use notes::Blind;

pub use crate::ending::{Bytes, Ending, Evidence, Rst, StateTimes};
pub use crate::losses::{Dropped, Losses};
pub use crate::netns::Netns;
pub use crate::process::{Comm, Process};
pub use crate::reason::Reason;
pub use crate::source::priority::raise_priority;
pub use crate::time_wait::TimeWait;
pub use crate::tuple::{Endpoint, Tuple};
pub use namespaces::ALL_NAMESPACES;
pub use sources::Source;
pub use stop::Stop;

#[cfg(feature = "metrics")]
pub(crate) use sources::NAMES as SOURCES;

/// What a [`Watcher`] follows.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Network namespaces other than the caller's, each by a name of `ip netns`, a path,
    /// or the number of a process; [`ALL_NAMESPACES`] for every one there is.
    pub netns: Vec<String>,
    /// Only connections with one of these ports at either end; empty for all.
    pub ports: Vec<u16>,
    /// Only connections that one of these processes owned or closed; empty for
    /// all.
    pub pids: Vec<u32>,
}

/// Follows the connections of this host until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    config: Config,
    collector: Collector,
    /// What is left of the batch taken last.
    batch: Option<Batch>,
    /// Up to when all that was told is joined.
    joined: u64,
    spaces: Spaces,
    /// Network namespaces that went, and when.
    going: Vec<(u64, u32)>,
    cgroups: Cgroups,
    /// Why steps are not told, or not all of them.
    blind: Option<Blind>,
    tracker: Tracker,
    next_round: Instant,
    next_owners: Instant,
    next_listeners: Instant,
    owners: Owners,
}

/// A dump, and a reading of owners, take at most this share of the time: 1/20.
const SHARE: u32 = 20;
/// How long the last batch of destroy notices is waited for.
const LAST_BATCH: Duration = Duration::from_millis(30);
/// A step reads, and asks the kernel, for this long at most each.
const STEP: Duration = Duration::from_millis(50);

impl Watcher {
    /// Opens the sources and dumps the sockets that are there.
    ///
    /// Blocks for some 10 ms, until every tracepoint has been on long enough.
    ///
    /// # Errors
    ///
    /// The network namespace cannot be entered, or the kernel has no inet_diag.
    /// Missing privilege is no error: see [`notes`](Self::notes).
    pub fn open(config: Config) -> io::Result<Self> {
        // Host files first: they are reachable from any network namespace.
        let tracepoints = Tracepoints::open(&config.ports);
        let (spaces, opened) = Spaces::open(&config.netns)?;
        let blind = match &tracepoints {
            Ok(tracepoints) => tracepoints
                .blind()
                .map(|why| Blind::WhereIdle(why.to_string())),
            Err(why) => Some(Blind::Everywhere(why.to_string())),
        };
        let tracepoints = tracepoints.ok();
        let mut tracker = Tracker::new(tracepoints.is_some());
        tracker.complete_since(tracepoints.as_ref().map_or(0, Tracepoints::complete_since));
        let collector = Collector::start(opened, tracepoints)?;
        let now = Instant::now();
        let mut watcher = Self {
            config,
            collector,
            batch: None,
            joined: 0,
            spaces,
            going: Vec::new(),
            cgroups: Cgroups::new(),
            tracker,
            blind,
            next_round: now,
            next_owners: now,
            next_listeners: now,
            owners: Owners::new(),
        };
        watcher.round()?;
        // What ends before it is certain of everything is told with less: whoever is
        // told that it watches need not know that.
        let certain = Duration::from_nanos(watcher.tracker.certain_since());
        std::thread::sleep(certain.saturating_sub(Duration::from_nanos(clock::monotonic())));
        Ok(watcher)
    }

    /// Returns the network namespaces that are watched.
    pub fn namespaces(&self) -> impl Iterator<Item = &Netns> {
        self.spaces.seen()
    }

    /// Returns whether network namespaces that come later are watched as well.
    #[must_use]
    pub fn sees_all_namespaces(&self) -> bool {
        self.spaces.are_all()
    }

    /// Returns how many network namespaces may not be entered, where all were asked for.
    #[must_use]
    pub fn namespaces_closed(&self) -> usize {
        self.spaces.closed()
    }

    /// Whether the kernel tells each transition.
    #[must_use]
    pub(crate) fn observes(&self) -> bool {
        !matches!(self.blind, Some(Blind::Everywhere(_)))
    }

    /// Returns whether a socket has been seen listening on this port.
    #[must_use]
    pub fn listens(&self, port: u16) -> bool {
        self.tracker.listens(port)
    }

    /// What it follows.
    #[must_use]
    pub(crate) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Takes the RSTs that answered segments for which the kernel had no socket; see
    /// [`Tracker::take_strays`].
    pub(crate) fn take_strays(&mut self) -> Vec<Tuple> {
        self.tracker.take_strays()
    }

    /// Returns what could not be reported so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        let (endings, steps) = self.collector.dropped();
        Losses {
            endings,
            steps,
            unfollowed: self.tracker.counts().unfollowed,
            unasked: self.tracker.counts().unasked,
        }
    }

    /// Counts the TIME_WAIT sockets of the network namespaces that are watched, and the
    /// local ports that are left.
    ///
    /// # Errors
    ///
    /// A source broke.
    pub fn time_wait(&mut self) -> io::Result<TimeWait> {
        let waiting = self.in_time_wait()?;
        Ok(self.count(&waiting))
    }

    /// The same of those connections alone that are within what is watched.
    pub(crate) fn watched_time_wait(&mut self) -> io::Result<TimeWait> {
        let mut waiting = self.in_time_wait()?;
        waiting.retain(|place| self.wants_ends(&place.tuple));
        Ok(self.count(&waiting))
    }

    fn in_time_wait(&mut self) -> io::Result<Vec<Place>> {
        let mut waiting = Vec::new();
        for diag in self.spaces.diags() {
            diag.dump(State::TimeWait.bit(), false, |socket| {
                let Socket { space, tuple, .. } = *socket;
                if socket.state == State::TimeWait {
                    waiting.push(Place { space, tuple });
                }
            })?;
        }
        Ok(waiting)
    }

    fn count(&self, waiting: &[Place]) -> TimeWait {
        let living = self.tracker.living().map(|(_, socket)| socket);
        let living = living.filter(|socket| socket.state != State::Listen);
        TimeWait::count(
            waiting,
            living.map(LastSample::place),
            |space, port| self.tracker.listens_in(space, port),
            |space| self.spaces.ports(space),
            self.spaces.all_ports(),
        )
    }

    /// Dumps every living socket and reads its owner now.
    ///
    /// # Errors
    ///
    /// A source broke.
    pub(crate) fn sample_now(&mut self) -> io::Result<()> {
        self.next_owners = Instant::now();
        self.round()
    }

    /// Waits for up to `wait`, then calls `each` with the endings that are known.
    ///
    /// # Errors
    ///
    /// A source broke.
    pub fn step(&mut self, wait: Duration, mut each: impl FnMut(Ending)) -> io::Result<()> {
        let now = clock::monotonic();
        let wait = self
            .tracker
            .next_query()
            .map_or(wait, |due| {
                wait.min(Duration::from_nanos(due.saturating_sub(now)))
            })
            .min(self.next_round.saturating_duration_since(Instant::now()));
        self.read(wait)?;
        let began = Instant::now();
        while self.ask_kernel()? && began.elapsed() < STEP {}
        if Instant::now() >= self.next_round {
            self.round()?;
        }
        self.tracker.tick(self.joined);
        let gone = self.come_and_go();
        self.hand_over(&mut each);
        for space in gone {
            self.spaces.forget(space);
        }
        Ok(())
    }

    /// Ends the watch: calls `each` with every ending left, including those that still wait
    /// for the peer's FIN, with what is known of them.
    ///
    /// Blocks for up to a few seconds on a busy machine.
    ///
    /// # Errors
    ///
    /// A source broke.
    pub fn finish(&mut self, mut each: impl FnMut(Ending)) -> io::Result<()> {
        self.catch_up()?;
        // The kernel writes destroy notices a moment after the end.
        for _ in 0..2 {
            while self.read(LAST_BATCH)? {}
        }
        self.tracker.ask_all();
        while self.ask_kernel()? {}
        // What was gone may have gone by an RST that is not joined yet.
        self.catch_up()?;
        self.tracker.flush();
        self.hand_over(&mut each);
        Ok(())
    }

    /// Takes up the network namespaces that came, where all are asked for, and leaves those
    /// that went, once what they told is joined: these are to be forgotten next.
    fn come_and_go(&mut self) -> Vec<u32> {
        let changes = self.spaces.changes();
        if !changes.came.is_empty() || !changes.went.is_empty() {
            let now = clock::monotonic();
            self.going
                .extend(changes.went.iter().map(|space| (now, *space)));
            self.collector.change(changes.came, &changes.went);
        }
        let joined = self.joined;
        let mut gone = Vec::new();
        self.going.retain(|(since, space)| {
            let stays = *since >= joined;
            if !stays {
                gone.push(*space);
            }
            stays
        });
        for space in &gone {
            self.tracker.leave(*space);
        }
        gone
    }

    fn hand_over(&mut self, each: &mut impl FnMut(Ending)) {
        let finished = self.tracker.take();
        let wall = clock::Wall::now();
        for finished in finished {
            if self.wanted(&finished) {
                let mut ending = finished.ending;
                ending.time = wall.at(finished.at);
                ending.opened = finished.opened.map(|at| wall.at(at));
                ending.netns = self.spaces.netns(finished.space).cloned();
                let owner = ending.owner.map(|process| process.pid);
                ending.cgroup = owner.and_then(|pid| self.cgroups.of(pid, finished.at));
                each(ending);
            }
        }
    }

    fn wanted(&self, finished: &Finished) -> bool {
        let Ending {
            tuple,
            owner,
            closer,
            ..
        } = &finished.ending;
        self.wants_ends(tuple) && self.wants_process(&[*owner, *closer])
    }

    /// Whether a connection with these ends is within what is watched.
    #[must_use]
    pub(crate) fn wants_ends(&self, tuple: &Tuple) -> bool {
        let ports = &self.config.ports;
        let ends = [tuple.local.port, tuple.remote.port];
        ports.is_empty() || ports.iter().any(|port| ends.contains(port))
    }

    /// Whether one of these processes is within what is watched.
    #[must_use]
    pub(crate) fn wants_process(&self, processes: &[Option<Process>]) -> bool {
        let pids = &self.config.pids;
        let mut known = processes.iter().flatten();
        pids.is_empty() || known.any(|process| pids.contains(&process.pid))
    }
}
