//! Rounds: every subject takes its turn in each, the figures are medians.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::clock::{self, Mark};
use crate::latency::{self, Latency};
use crate::peer::{Habit, Peer};
use crate::progress::Progress;
use crate::row::{Row, Sample, median_of, ratio, spread};
use crate::scenario::{self, CLIENTS, Scenario};
use crate::subjects::{Batch, Fates, Foreign, Run, Subject};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) connections: usize,
    /// How long to wait before each sample for unrelated processes to pause.
    pub(crate) patience: Duration,
}

/// A subject and what it came to.
struct Entrant {
    subject: Subject,
    foreign: Option<Foreign>,
    samples: Vec<Sample>,
    latencies: Vec<Latency>,
}

pub(crate) fn measure(
    scenario: Scenario,
    subjects: &[Subject],
    effort: Effort,
    progress: &Progress,
) -> io::Result<Vec<Row>> {
    let mut entrants = Vec::new();
    for &subject in subjects.iter().filter(|s| s.takes_part(scenario)) {
        let foreign = match subject.start_foreign() {
            Some(started) => started.map(Some),
            None => subject.start().map(|_| None),
        };
        let foreign = match foreign {
            Ok(foreign) => foreign,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                progress.note(&format!("{} skipped: {error}", subject.name()));
                continue;
            }
            Err(error) => return Err(error),
        };
        entrants.push(Entrant {
            subject,
            foreign,
            samples: Vec::new(),
            latencies: Vec::new(),
        });
    }
    let mut peer = Peer::start()?;
    // The first round warms up and is not counted.
    for round in 0..=effort.rounds {
        for entrant in &mut entrants {
            progress.step(
                scenario.name(),
                entrant.subject.name(),
                round,
                effort.rounds,
            );
            let (sample, latency) = entrant.turn(&mut peer, scenario, effort).map_err(|error| {
                let subject = entrant.subject.name();
                io::Error::other(format!("{}, {subject}: {error}", scenario.name()))
            })?;
            if round > 0 {
                entrant.samples.push(sample);
                entrant.latencies.extend(latency);
            }
        }
    }
    let plain: Vec<Sample> = entrants
        .iter()
        .find(|e| e.subject == Subject::Plain)
        .map(|e| e.samples.clone())
        .unwrap_or_default();
    Ok(entrants
        .iter()
        .map(|entrant| entrant.row(scenario, &plain))
        .collect())
}

impl Entrant {
    fn turn(
        &mut self,
        peer: &mut Peer,
        scenario: Scenario,
        effort: Effort,
    ) -> io::Result<(Sample, Option<Latency>)> {
        clock::await_quiet(effort.patience)?;
        let n = effort.connections.min(self.subject.at_most(scenario));
        let sample = match (&mut self.foreign, scenario) {
            (Some(foreign), Scenario::Server) => foreign_server(peer, foreign, n)?,
            (Some(foreign), _) => foreign_batch(peer, scenario, foreign, n)?,
            (None, Scenario::Server) => server(peer, &mut *self.subject.start()?, n)?,
            (None, _) => batch(peer, scenario, self.subject, n)?,
        };
        let latency = match (&self.foreign, scenario) {
            (None, Scenario::PeerCloses) => latency::sample(peer, &mut *self.subject.start()?)?,
            _ => None,
        };
        Ok((sample, latency))
    }

    fn row(&self, scenario: Scenario, plain: &[Sample]) -> Row {
        let samples = &self.samples;
        let median = |of: fn(&Sample) -> f64| median_of(samples, of);
        let of_latencies = |of: fn(&Latency) -> f64| {
            let all: Vec<f64> = self.latencies.iter().map(of).collect();
            (!all.is_empty()).then(|| crate::row::median(all))
        };
        let has_bytes = samples.iter().all(|s| s.bytes_per_ending.is_some());
        Row {
            scenario: scenario.name(),
            subject: self.subject.name(),
            cpu_vs_plain: ratio(samples, plain, Sample::cpu_us),
            process_cpu_vs_plain: ratio(samples, plain, Sample::process_cpu_us),
            closes_per_s: self.subject.waits().then(|| median(Sample::per_s)),
            ack_to_report_p99_us: of_latencies(|l| l.p99_us),
            bytes_per_ending: has_bytes.then(|| median(|s| s.bytes_per_ending.unwrap_or(f64::NAN))),
            threads: samples.iter().map(|s| s.threads).max().unwrap_or(0),
            connections: samples.first().map_or(0, |s| s.closes),
            cpu_us: median(Sample::cpu_us),
            cpu_us_spread: spread(samples, Sample::cpu_us),
            process_cpu_us: median(Sample::process_cpu_us),
            ack_to_report_p50_us: of_latencies(|l| l.p50_us),
            requests_per_s: (scenario == Scenario::Server).then(|| median(Sample::per_s)),
            noise: median(|s| s.spent.noise),
        }
    }
}

/// A delayed ACK comes 40 ms after the FIN, and its handling belongs to the
/// close, also to one that does not wait for it.
const LAST_ACKS: Duration = Duration::from_millis(60);

/// The window that is measured begins right before the first close and ends when
/// the last ACK has been handled.
fn batch(peer: &mut Peer, scenario: Scenario, subject: Subject, n: usize) -> io::Result<Sample> {
    let streams = scenario::connect(peer, n, scenario.habit())?;
    let mut run = subject.start()?;
    for stream in &streams {
        scenario.respond(stream)?;
    }
    if scenario.habit() == Habit::Closes {
        peer.watch()?;
    }
    let heap = clock::heap();
    let mut seen = Seen::default();
    let mark = Mark::now(Pid::this())?;
    let began = Instant::now();
    let fates = close_all(&mut *run, scenario, streams, peer, &mut seen)?;
    let wall = began.elapsed();
    match scenario.habit() {
        // Until the last reader has come to its end, or the last FIN to a peer.
        Habit::Slow | Habit::Closes => peer.answer()?,
        Habit::Stays | Habit::Delays if !subject.waits() => std::thread::sleep(LAST_ACKS),
        Habit::Stays | Habit::Delays => {}
    }
    let spent = mark.spent()?;
    peer.drop_all()?;
    check(scenario, n, fates)?;
    Ok(Sample {
        closes: n,
        spent,
        wall,
        bytes_per_ending: (scenario == Scenario::SlowReaders && subject.waits())
            .then(|| seen.heap.saturating_sub(heap) as f64 / n as f64),
        threads: seen.threads,
    })
}

/// What was seen while all were in flight.
#[derive(Default)]
struct Seen {
    heap: usize,
    threads: usize,
}

fn close_all(
    run: &mut dyn Run,
    scenario: Scenario,
    streams: Vec<TcpStream>,
    peer: &mut Peer,
    seen: &mut Seen,
) -> io::Result<Fates> {
    let mut look = || {
        seen.threads = clock::threads(Pid::this())?;
        if scenario == Scenario::SlowReaders {
            seen.heap = clock::settled_heap();
            peer.read()?;
        }
        Ok::<_, io::Error>(())
    };
    let mut looked = Ok(());
    let fates = run.close_all(Batch {
        scenario,
        streams,
        in_flight: &mut || looked = look(),
    })?;
    looked.map(|()| fates)
}

/// A measurement of closes that did not come out is none.
fn check(scenario: Scenario, n: usize, fates: Fates) -> io::Result<()> {
    let Fates { delivered, overdue } = fates;
    if fates == Fates::default() {
        return Ok(()); // nobody was told
    }
    let expected = match scenario {
        // How many of the readers are served in time is up to the machine.
        Scenario::SlowReaders => delivered + overdue == n && overdue >= n / 3,
        _ => delivered == n,
    };
    if expected {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "of {n}, {delivered} were delivered and {overdue} overdue"
        )))
    }
}

fn server(peer: &mut Peer, run: &mut dyn Run, n: usize) -> io::Result<Sample> {
    let listener = scenario::listen()?;
    let mark = Mark::now(Pid::this())?;
    let began = Instant::now();
    peer.load(listener.local_addr()?, n, CLIENTS)?;
    let threads = run.serve(&listener, n)?;
    peer.answer()?;
    let wall = began.elapsed();
    let spent = mark.spent()?;
    Ok(Sample {
        closes: n,
        spent,
        wall,
        bytes_per_ending: None,
        threads,
    })
}

fn foreign_batch(
    peer: &mut Peer,
    scenario: Scenario,
    foreign: &mut Foreign,
    n: usize,
) -> io::Result<Sample> {
    foreign.tell(&format!("accept {n}"))?;
    peer.connect(foreign.address(), n, scenario.habit())?;
    peer.answer()?;
    foreign.answer()?;
    if scenario.response() > 0 {
        foreign.tell(&format!("respond {}", scenario.response()))?;
        foreign.answer()?;
    }
    if scenario.habit() == Habit::Closes {
        peer.watch()?;
    }
    let mark = Mark::now(foreign.pid())?;
    let began = Instant::now();
    foreign.tell("close")?;
    foreign.answer()?;
    let wall = began.elapsed();
    match scenario.habit() {
        Habit::Closes => peer.answer()?,
        _ => std::thread::sleep(LAST_ACKS.saturating_sub(wall)),
    }
    let spent = mark.spent()?;
    let threads = clock::threads(foreign.pid())?;
    peer.drop_all()?;
    Ok(Sample {
        closes: n,
        spent,
        wall,
        bytes_per_ending: None,
        threads,
    })
}

fn foreign_server(peer: &mut Peer, foreign: &mut Foreign, n: usize) -> io::Result<Sample> {
    foreign.tell(&format!("serve {n}"))?;
    foreign.answer()?;
    let mark = Mark::now(foreign.pid())?;
    let began = Instant::now();
    peer.load(foreign.address(), n, CLIENTS)?;
    foreign.answer()?;
    peer.answer()?;
    let wall = began.elapsed();
    let spent = mark.spent()?;
    Ok(Sample {
        closes: n,
        spent,
        wall,
        bytes_per_ending: None,
        threads: clock::threads(foreign.pid())?,
    })
}
