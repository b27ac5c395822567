//! Rounds: every subject takes its turn, the figures are medians.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock::{self, Mark};
use crate::peer::Peer;
use crate::scenario::Scenario;
use crate::subjects::Subject;

/// A line of the table. What was not measured is null.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) subject: &'static str,
    /// Connections closed in a round.
    pub(crate) connections: usize,
    /// Whole-machine CPU per close, and its ratio to plain close(2).
    pub(crate) cpu_us: f64,
    pub(crate) cpu_vs_plain: Option<f64>,
    pub(crate) process_cpu_us: f64,
    pub(crate) process_cpu_vs_plain: Option<f64>,
    /// Closes with a known fate per second; null where the fate is not known.
    pub(crate) closes_per_s: Option<f64>,
    pub(crate) ack_to_report_p50_us: Option<f64>,
    pub(crate) ack_to_report_p99_us: Option<f64>,
    pub(crate) bytes_per_ending: Option<f64>,
    pub(crate) threads: usize,
}

struct Sample {
    cpu_us: f64,
    process_cpu_us: f64,
    wall: Duration,
    bytes_per_ending: Option<f64>,
    threads: usize,
}

pub(crate) fn measure(
    scenario: Scenario,
    subjects: &[Subject],
    rounds: usize,
    connections: usize,
) -> io::Result<Vec<Row>> {
    let mut peer = Peer::start()?;
    let subjects: Vec<Subject> = subjects
        .iter()
        .copied()
        .filter(|s| s.takes_part(scenario))
        .collect();
    let mut samples: Vec<Vec<Sample>> = subjects.iter().map(|_| Vec::new()).collect();
    // The first round warms up and is not counted.
    for counted in std::iter::once(false).chain(std::iter::repeat_n(true, rounds)) {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            let n = connections.min(subject.at_most());
            let sample = one(&mut peer, scenario, *subject, n)?;
            if counted {
                samples.push(sample);
            }
        }
    }
    let plain = subjects.iter().position(|&s| s == Subject::Plain);
    let cpu = |i: usize| median(samples[i].iter().map(|s| s.cpu_us));
    let process = |i: usize| median(samples[i].iter().map(|s| s.process_cpu_us));
    let mut rows = Vec::new();
    for (i, subject) in subjects.iter().enumerate() {
        let n = connections.min(subject.at_most());
        let wall = median(samples[i].iter().map(|s| s.wall.as_secs_f64()));
        let bytes: Vec<f64> = samples[i]
            .iter()
            .filter_map(|s| s.bytes_per_ending)
            .collect();
        rows.push(Row {
            scenario: scenario.name(),
            subject: subject.name(),
            connections: n,
            cpu_us: cpu(i),
            cpu_vs_plain: plain.map(|p| cpu(i) / cpu(p)),
            process_cpu_us: process(i),
            process_cpu_vs_plain: plain.map(|p| process(i) / process(p)),
            closes_per_s: subject.knows_the_fate().then(|| n as f64 / wall),
            ack_to_report_p50_us: None,
            ack_to_report_p99_us: None,
            bytes_per_ending: (!bytes.is_empty()).then(|| median(bytes.into_iter())),
            threads: samples[i].iter().map(|s| s.threads).max().unwrap_or(0),
        });
    }
    Ok(rows)
}

/// The peers' delayed ACKs and their handling belong to the closes, so a round
/// lasts at least until they are over.
const AT_LEAST: Duration = Duration::from_millis(120);

fn one(peer: &mut Peer, scenario: Scenario, subject: Subject, n: usize) -> io::Result<Sample> {
    let streams = scenario.prepare(peer, n)?;
    let mut run = subject.start()?;
    for stream in &streams {
        scenario.respond(stream)?;
    }
    if scenario == Scenario::SlowReaders {
        peer.read()?;
    }
    let heap = clock::heap();
    let over = AtomicBool::new(false);
    let (spent, wall, in_flight) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| most_in_use(&over));
        let mark = Mark::now()?;
        let began = Instant::now();
        run.close_all(streams)?;
        let wall = began.elapsed();
        over.store(true, Ordering::Relaxed);
        std::thread::sleep(AT_LEAST.saturating_sub(wall));
        let spent = mark.spent()?;
        let in_flight = sampler
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the sampler panicked")))?;
        Ok::<_, io::Error>((spent, wall, in_flight))
    })?;
    if scenario == Scenario::SlowReaders {
        peer.answer()?;
    }
    peer.drop_all()?;
    let per_close = |time: Duration| time.as_secs_f64() * 1e6 / n as f64;
    Ok(Sample {
        cpu_us: per_close(spent.machine),
        process_cpu_us: per_close(spent.process),
        wall,
        bytes_per_ending: subject
            .knows_the_fate()
            .then(|| in_flight.0.saturating_sub(heap) as f64 / n as f64),
        threads: in_flight.1.saturating_sub(1),
    })
}

/// The most heap and threads seen until the closes are over.
fn most_in_use(over: &AtomicBool) -> io::Result<(usize, usize)> {
    let mut most = (0, 0);
    while !over.load(Ordering::Relaxed) {
        most = (most.0.max(clock::heap()), most.1.max(clock::threads()?));
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(most)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}
