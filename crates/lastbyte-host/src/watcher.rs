//! Drives the sources and the joiner: opens what the privilege allows, waits,
//! reads in the order that keeps causes before effects, and hands over endings.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use crate::event::Ending;
use crate::joiner::{Finished, Joiner};
use crate::parse::inet_diag::Socket;
use crate::parse::netlink;
use crate::source::destroy::Destroyed;
use crate::source::diag::Diag;
use crate::source::owners::Owners;
use crate::source::tracepoints::Tracepoints;
use crate::source::{clock, netns, owners};
use crate::tuple::State;

/// What to watch.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// A network namespace other than the caller's; see [`netns::enter`].
    pub netns: Option<String>,
    /// Only connections with one of these ports at either end; empty for all.
    pub ports: Vec<u16>,
    /// Only connections that one of these processes owned or closed; empty for
    /// all.
    pub pids: Vec<u32>,
}

/// What could not be told, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Times the kernel dropped obituaries because they were not read fast
    /// enough.
    pub overruns: u64,
    /// Tracepoint records dropped: their endings are inferred, not observed.
    pub traces: u64,
    /// Living sockets not followed because a limit was reached.
    pub unfollowed: u64,
}

/// A watch in progress.
#[derive(Debug)]
pub struct Watcher {
    config: Config,
    destroyed: Destroyed,
    diag: Diag,
    tracepoints: Result<Tracepoints, String>,
    joiner: Joiner,
    backlog: Vec<(u64, Socket)>,
    overruns: u64,
    batch: Duration,
    next_round: Instant,
    next_owners: Instant,
    owners: Owners,
    rounds: u64,
}

/// Between two dumps at least.
const ROUND: Duration = Duration::from_millis(500);
/// A dump, and a reading of owners, take at most this share of the time: 1/20.
const SHARE: u32 = 20;
/// With room for it, obituaries are read in batches this far apart.
const BATCH: Duration = Duration::from_millis(10);
const ROOM_FOR_BATCHES: usize = 8 << 20;
/// Look-ups carried out between two readings.
const LOOK_UPS: usize = 1024;

impl Watcher {
    /// Opens the sources and takes a first look at what is there.
    ///
    /// # Errors
    ///
    /// The network namespace cannot be entered, or the kernel has no inet_diag.
    /// Missing privilege is no error: see [`notes`](Self::notes).
    pub fn open(config: Config) -> io::Result<Self> {
        // Host files first: they are reachable from any network namespace.
        let tracepoints = Tracepoints::open(&config.ports).map_err(|error| error.to_string());
        if let Some(which) = &config.netns {
            netns::enter(which)?;
        }
        let destroyed = Destroyed::subscribe()?;
        let batch = if destroyed.room() >= ROOM_FOR_BATCHES {
            BATCH
        } else {
            Duration::ZERO
        };
        let now = Instant::now();
        let mut watcher = Self {
            config,
            destroyed,
            diag: Diag::open()?,
            joiner: Joiner::new(tracepoints.is_ok()),
            tracepoints,
            backlog: Vec::new(),
            overruns: 0,
            batch,
            next_round: now,
            next_owners: now,
            owners: Owners::new(),
            rounds: 0,
        };
        watcher.round()?;
        Ok(watcher)
    }

    /// What this watch cannot tell, and what would add it: one sentence each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Err(why) = &self.tracepoints {
            notes.push(format!(
                "no tracepoints ({why}): who closed, RST reasons, times in states and some \
                 verdicts stay unknown (null); run as root, or with CAP_PERFMON and readable \
                 tracefs, to see them"
            ));
        }
        if let Some(why) = self.tracepoints.as_ref().ok().and_then(Tracepoints::blind) {
            notes.push(format!(
                "no trace instance ({why}): some kernels hide from perf what happens on idle \
                 CPUs; the endings that miss a step are inferred"
            ));
        }
        // SAFETY: asks for a number and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            notes.push(
                "not root: owners (pid, comm) are known for your own processes only".to_owned(),
            );
        }
        notes
    }

    /// Whether the kernel tells each transition.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.tracepoints.is_ok()
    }

    /// What it follows.
    #[must_use]
    pub fn joiner(&self) -> &Joiner {
        &self.joiner
    }

    /// What could not be told so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        Losses {
            overruns: self.overruns,
            traces: self.tracepoints.as_ref().map_or(0, Tracepoints::lost),
            unfollowed: self.joiner.counts().unfollowed,
        }
    }

    /// How many times the table of living sockets was read.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Every socket in one of the states ([`State::bit`]), such as TIME_WAIT,
    /// which the watch itself does not follow.
    ///
    /// # Errors
    ///
    /// A source broke.
    pub fn dump(&mut self, states: u32, each: impl FnMut(&Socket)) -> io::Result<()> {
        let Self {
            diag,
            destroyed,
            backlog,
            overruns,
            ..
        } = self;
        diag.dump(states, false, each, || pump(destroyed, backlog, overruns))
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
            .joiner
            .next_query()
            .map_or(wait, |due| {
                wait.min(Duration::from_nanos(due.saturating_sub(now)))
            })
            .min(self.next_round.saturating_duration_since(Instant::now()));
        if self.wait(wait)? && !self.batch.is_zero() {
            std::thread::sleep(self.batch);
        }
        self.read()?;
        let queries = self.joiner.queries(clock::monotonic(), LOOK_UPS);
        if !queries.is_empty() {
            let Self {
                diag,
                joiner,
                destroyed,
                backlog,
                overruns,
                ..
            } = self;
            diag.find(&queries, |tuple, state| {
                joiner.answer(clock::monotonic(), tuple, state);
            })?;
            pump(destroyed, backlog, overruns)?;
        }
        if Instant::now() >= self.next_round {
            self.round()?;
        }
        self.joiner.tick(clock::monotonic());
        self.hand_over(&mut each);
        Ok(())
    }

    /// Ends the watch: reads what is there and hands over every ending, those
    /// that still wait for the peer's FIN with what is known.
    ///
    /// # Errors
    ///
    /// A source broke.
    pub fn finish(&mut self, mut each: impl FnMut(Ending)) -> io::Result<()> {
        self.read()?;
        self.joiner.ask_all();
        loop {
            let queries = self.joiner.queries(clock::monotonic(), LOOK_UPS);
            if queries.is_empty() {
                break;
            }
            let Self { diag, joiner, .. } = self;
            diag.find(&queries, |tuple, state| {
                joiner.answer(clock::monotonic(), tuple, state);
            })?;
        }
        self.joiner.flush();
        self.hand_over(&mut each);
        Ok(())
    }

    /// Obituaries first, tracepoints second, then judge: a tracepoint fires
    /// before its socket's obituary is written.
    fn read(&mut self) -> io::Result<()> {
        let Self {
            destroyed,
            backlog,
            overruns,
            joiner,
            tracepoints,
            ..
        } = self;
        pump(destroyed, backlog, overruns)?;
        if let Ok(tracepoints) = tracepoints {
            tracepoints.drain(|at, trace, process| joiner.trace(at, trace, process));
        }
        for (at, socket) in backlog.drain(..) {
            joiner.obituary(at, &socket);
        }
        Ok(())
    }

    /// A look at every living socket, and at who owns the new ones.
    fn round(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let every = State::ALL
            .iter()
            .filter(|state| !matches!(state, State::TimeWait | State::Close | State::NewSynRecv))
            .fold(0, |mask, state| mask | state.bit());
        let Self {
            diag,
            joiner,
            destroyed,
            backlog,
            overruns,
            owners,
            ..
        } = self;
        joiner.begin_round();
        diag.dump(
            every,
            true,
            |socket| joiner.row(clock::monotonic(), socket),
            || pump(destroyed, backlog, overruns),
        )?;
        joiner.end_round(|inode| owners.get(&inode).copied());
        if joiner.owners_wanted() && Instant::now() >= self.next_owners {
            let began = Instant::now();
            *owners = owners::read(|| pump(destroyed, backlog, overruns))?;
            joiner.end_round(|inode| owners.get(&inode).copied());
            self.next_owners = Instant::now() + began.elapsed() * SHARE;
        }
        self.rounds += 1;
        self.next_round = Instant::now() + ROUND.max(began.elapsed() * SHARE);
        Ok(())
    }

    fn hand_over(&mut self, each: &mut impl FnMut(Ending)) {
        for finished in self.joiner.take() {
            if self.wanted(&finished) {
                let mut ending = finished.ending;
                ending.time = clock::wall(finished.at);
                ending.opened = finished.opened.map(clock::wall);
                each(ending);
            }
        }
    }

    fn wanted(&self, finished: &Finished) -> bool {
        let Config { ports, pids, .. } = &self.config;
        let Ending {
            tuple,
            owner,
            closer,
            ..
        } = &finished.ending;
        let has_port = |port| tuple.local.port == port || tuple.remote.port == port;
        let has_pid = |pid| {
            [owner, closer]
                .iter()
                .any(|p| p.is_some_and(|p| p.pid == pid))
        };
        (ports.is_empty() || ports.iter().any(|port| has_port(*port)))
            && (pids.is_empty() || pids.iter().any(|pid| has_pid(*pid)))
    }

    /// Whether there is something to read before `wait` is over.
    fn wait(&self, wait: Duration) -> io::Result<bool> {
        let rings = self.tracepoints.iter().flat_map(|t| t.rings());
        let mut fds: Vec<libc::pollfd> = std::iter::once(self.destroyed.as_fd())
            .chain(rings.map(AsFd::as_fd))
            .map(|fd| libc::pollfd {
                fd: fd.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        // Rounded up, so that a wait that is due is over.
        let ms = wait.as_nanos().div_ceil(1_000_000);
        let ms = libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX);
        // SAFETY: `fds` is valid for its length.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, ms) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(false),
                _ => Err(error),
            };
        }
        Ok(ready > 0)
    }
}

/// Reads obituaries into the backlog.
fn pump(
    destroyed: &mut Destroyed,
    backlog: &mut Vec<(u64, Socket)>,
    overruns: &mut u64,
) -> io::Result<()> {
    let at = clock::monotonic();
    let drained = destroyed.drain(|datagram| {
        for message in netlink::messages(datagram) {
            if let Some(socket) = Socket::parse(message.payload) {
                backlog.push((at, socket));
            }
        }
    })?;
    *overruns += drained.overruns;
    Ok(())
}
