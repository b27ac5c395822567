//! Drives the sources and the tracker: opens what the privilege allows, waits,
//! reads in the order that keeps causes before effects, and hands over endings.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use crate::ending::Ending;
use crate::evidence::last_sample::LastSample;
use crate::losses::Losses;
use crate::namespaces::Spaces;
use crate::netns::Netns;
use crate::parse::inet_diag::Socket;
use crate::process::{self, Process};
use crate::source::backlog::Batch;
use crate::source::cgroups::Cgroups;
use crate::source::collector::{Collector, Taken};
use crate::source::owners::Owners;
use crate::source::tracepoints::Tracepoints;
use crate::source::{clock, owners};
use crate::sources::{self, Source};
use crate::time_wait::TimeWait;
use crate::tracker::{Finished, Tracker};
use crate::tuple::{Place, State, Tuple};

/// What to watch.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Network namespaces other than the caller's, each by a name of `ip netns`, a path,
    /// or the number of a process; [`ALL`](crate::namespaces::ALL) for every one there is.
    pub netns: Vec<String>,
    /// Only connections with one of these ports at either end; empty for all.
    pub ports: Vec<u16>,
    /// Only connections that one of these processes owned or closed; empty for
    /// all.
    pub pids: Vec<u32>,
}

/// A watch in progress.
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
    rounds: u64,
}

/// Why not everything can be told.
#[derive(Debug)]
enum Blind {
    /// No tracepoints.
    Everywhere(String),
    /// No trace instance for what happens on idle CPUs.
    WhereIdle(String),
}

/// Between two dumps at least.
const ROUND: Duration = Duration::from_millis(500);
/// Between two looks at the listeners alone, at least.
const LISTENERS: Duration = Duration::from_millis(20);
/// A dump, and a reading of owners, take at most this share of the time: 1/20.
const SHARE: u32 = 20;
/// How long the last batch of destroy notices is waited for.
const LAST_BATCH: Duration = Duration::from_millis(30);
/// How long the collector is waited for at the end, on a machine too busy for it.
const LAST_STEPS: Duration = Duration::from_secs(2);
/// A step reads, and looks up, for this long at most each.
const STEP: Duration = Duration::from_millis(50);
/// Steps, and destroy notices, joined between two looks at the clock.
const HANDFUL: usize = 512;
/// Look-ups carried out between two looks at the clock.
const LOOK_UPS: usize = 256;

impl Watcher {
    /// Opens the sources and takes a first look at what is there.
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
            rounds: 0,
        };
        watcher.round()?;
        // What ends before it is certain of everything is told with less: whoever is
        // told that it watches need not know that.
        let certain = Duration::from_nanos(watcher.tracker.certain_since());
        std::thread::sleep(certain.saturating_sub(Duration::from_nanos(clock::monotonic())));
        Ok(watcher)
    }

    /// What this watch cannot tell, and what would add it: one sentence each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match &self.blind {
            Some(Blind::Everywhere(why)) => notes.push(format!(
                "no tracepoints ({why}): who closed, RST reasons, times in states and some \
                 verdicts stay unknown (null); run as root, or with CAP_PERFMON and readable \
                 tracefs, to see them"
            )),
            Some(Blind::WhereIdle(why)) => notes.push(format!(
                "no trace instance ({why}): some kernels hide from perf what happens on idle \
                 CPUs; the endings that miss a step are inferred"
            )),
            None => {}
        }
        if !process::proc_is_ours() {
            notes.push(
                "/proc is of another pid namespace: the names of processes that are running, and \
                 owners, are not known (mount it anew, as unshare --mount-proc does)"
                    .to_owned(),
            );
        } else if process::pid_namespace("self") != Some(process::FIRST_NAMESPACE) {
            notes.push(
                "a pid namespace of its own: processes outside of it have no number here (pid \
                 and comm are null)"
                    .to_owned(),
            );
        }
        // SAFETY: asks for a number and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            notes.push(
                "not root: owners (pid, comm) are known for your own processes only".to_owned(),
            );
        }
        notes
    }

    /// Its sources, and what is missing of them.
    #[must_use]
    pub fn sources(&self) -> [Source; 5] {
        let (steps, idle) = match &self.blind {
            Some(Blind::Everywhere(why)) => (Some(why.clone()), Some(why.clone())),
            Some(Blind::WhereIdle(why)) => (None, Some(why.clone())),
            None => (None, None),
        };
        // SAFETY: asks for a number and cannot fail.
        let owners = match unsafe { libc::geteuid() } {
            _ if !process::proc_is_ours() => Some("/proc is of another pid namespace".to_owned()),
            0 => None,
            _ => Some("not root: of your own processes only".to_owned()),
        };
        sources::list([None, None, steps, idle, owners])
    }

    /// The network namespaces that are seen.
    pub fn namespaces(&self) -> impl Iterator<Item = &Netns> {
        self.spaces.seen()
    }

    /// Whether those that come later will be seen as well.
    #[must_use]
    pub fn sees_all_namespaces(&self) -> bool {
        self.spaces.are_all()
    }

    /// How many there are that may not be entered, where all are asked for.
    #[must_use]
    pub fn namespaces_closed(&self) -> usize {
        self.spaces.closed()
    }

    /// Whether the kernel tells each transition.
    #[must_use]
    pub fn observes(&self) -> bool {
        !matches!(self.blind, Some(Blind::Everywhere(_)))
    }

    /// What it follows.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Takes the RSTs that answered segments for which the kernel had no socket; see
    /// [`Tracker::take_strays`].
    pub fn take_strays(&mut self) -> Vec<Tuple> {
        self.tracker.take_strays()
    }

    /// What could not be told so far.
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

    /// How many times the table of living sockets was read.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds
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

    /// Looks at every living socket and its owner now.
    ///
    /// # Errors
    ///
    /// A source broke.
    pub fn look_again(&mut self) -> io::Result<()> {
        self.next_owners = Instant::now();
        self.round()
    }

    /// Waits for at most `wait`, then hands over the endings that are known.
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
        while self.look_up()? && began.elapsed() < STEP {}
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

    /// Ends the watch: reads what is there and hands over every ending, those
    /// that still wait for the peer's FIN with what is known.
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
        while self.look_up()? {}
        // What was gone may have gone by an RST that is not joined yet.
        self.catch_up()?;
        self.tracker.flush();
        self.hand_over(&mut each);
        Ok(())
    }

    /// Joins all that was there when it began.
    fn catch_up(&mut self) -> io::Result<()> {
        let (asked, began) = (clock::monotonic(), Instant::now());
        self.collector.collect_now();
        while self.joined < asked && began.elapsed() < LAST_STEPS {
            self.read(LAST_BATCH)?;
        }
        Ok(())
    }

    /// Takes what was collected, as much as fits a step; whether more may be there.
    fn read(&mut self, mut wait: Duration) -> io::Result<bool> {
        let began = Instant::now();
        loop {
            if self.batch.is_none() {
                match self.collector.take(wait)? {
                    Taken::Batch(batch) => self.batch = Some(batch),
                    Taken::AllUpTo(then) => self.joined = then,
                }
                wait = Duration::ZERO;
                if let Some(Batch { missed, .. }) = &self.batch
                    && missed.any()
                {
                    self.tracker.missed(missed.from, missed.until);
                }
            }
            let Self {
                batch,
                tracker,
                spaces,
                next_listeners,
                ..
            } = self;
            let Some(left) = batch else {
                return Ok(false);
            };
            for (at, trace, process) in left.traces.by_ref().take(HANDFUL) {
                tracker.trace(at, &trace, process);
            }
            if left.traces.len() == 0 {
                let next = left.notices.as_slice();
                let next = &next[..next.len().min(HANDFUL)];
                let now = Instant::now();
                if now >= *next_listeners && tracker.wants_listeners(next) {
                    for diag in spaces.diags() {
                        diag.dump(State::Listen.bit(), false, |socket| {
                            tracker.listener(socket)
                        })?;
                    }
                    *next_listeners = Instant::now() + LISTENERS.max(now.elapsed() * SHARE);
                }
                for (at, socket) in left.notices.by_ref().take(HANDFUL) {
                    tracker.destroy_notice(at, &socket);
                }
                if left.notices.len() == 0 {
                    self.joined = left.at;
                    *batch = None;
                }
            }
            if began.elapsed() > STEP {
                return Ok(true);
            }
        }
    }

    /// Carries out some of the look-ups that are due; whether more may be.
    fn look_up(&mut self) -> io::Result<bool> {
        let queries = self.tracker.queries(clock::monotonic(), LOOK_UPS);
        let Self {
            spaces, tracker, ..
        } = self;
        let mut by_space: BTreeMap<u32, Vec<Tuple>> = BTreeMap::new();
        for place in &queries {
            by_space.entry(place.space).or_default().push(place.tuple);
        }
        for (space, tuples) in by_space {
            // Of one that went, what is known is told soon.
            if let Some(diag) = spaces.diag(space) {
                diag.find(&tuples, |place, socket| {
                    tracker.answer(clock::monotonic(), place, socket);
                })?;
            }
        }
        Ok(queries.len() == LOOK_UPS)
    }

    /// A look at every living socket, and at who owns the new ones.
    fn round(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let every = State::ALL
            .iter()
            .filter(|state| !matches!(state, State::TimeWait | State::Close | State::NewSynRecv))
            .fold(0, |mask, state| mask | state.bit());
        let Self {
            spaces,
            tracker,
            owners,
            ..
        } = self;
        tracker.begin_round(clock::monotonic());
        for diag in spaces.diags() {
            diag.dump(every, true, |socket| {
                tracker.row(clock::monotonic(), socket)
            })?;
        }
        tracker.end_round(|inode| owners.get(&inode).copied());
        if tracker.owners_wanted() && Instant::now() >= self.next_owners {
            let began = Instant::now();
            *owners = owners::read()?;
            tracker.end_round(|inode| owners.get(&inode).copied());
            self.next_owners = Instant::now() + began.elapsed() * SHARE;
        }
        self.rounds += 1;
        self.next_round = Instant::now() + ROUND.max(began.elapsed() * SHARE);
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
    pub fn wants_ends(&self, tuple: &Tuple) -> bool {
        let ports = &self.config.ports;
        let ends = [tuple.local.port, tuple.remote.port];
        ports.is_empty() || ports.iter().any(|port| ends.contains(port))
    }

    /// Whether one of these processes is within what is watched.
    #[must_use]
    pub fn wants_process(&self, processes: &[Option<Process>]) -> bool {
        let pids = &self.config.pids;
        let mut known = processes.iter().flatten();
        pids.is_empty() || known.any(|process| pids.contains(&process.pid))
    }
}
