//! Whether a close costs the same however many are in flight.

use std::io;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lastbyte::{Closer, CloserBackend, Policy};
use nix::unistd::Pid;
use serde::Serialize;

use crate::clock::{self, Mark};
use crate::peer::{Habit, Peer};
use crate::progress::Progress;
use crate::round::Effort;
use crate::row::{Sample, median_of, ratio};
use crate::scenario;

/// The cost of a close with few and with many in flight.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Flat {
    pub(crate) subject: &'static str,
    pub(crate) in_flight: [usize; 2],
    /// Whole-machine CPU of a close, microseconds.
    pub(crate) cpu_us: [f64; 2],
    pub(crate) cpu_ratio: f64,
    pub(crate) process_cpu_us: [f64; 2],
    pub(crate) process_cpu_ratio: f64,
}

const FEW: usize = 100;
const CLOSES: usize = 4000;
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn measure(effort: Effort, progress: &Progress) -> io::Result<Vec<Flat>> {
    let mut peer = Peer::start()?;
    let mut backends = vec![
        ("plain", None),
        ("closer_epoll", Some(CloserBackend::Epoll)),
    ];
    let uring = Closer::builder().backend(CloserBackend::IoUring).build()?;
    if uring.backend() == CloserBackend::IoUring {
        backends.push(("closer_uring", Some(CloserBackend::IoUring)));
    }
    drop(uring);
    let many = effort.connections.max(FEW);
    let mut samples = vec![[Vec::new(), Vec::new()]; backends.len()];
    for round in 0..=effort.rounds {
        for ((name, backend), samples) in backends.iter().zip(&mut samples) {
            progress.step("in flight", name, round, effort.rounds);
            for (total, samples) in [FEW, many].into_iter().zip(samples) {
                clock::await_quiet(effort.patience)?;
                let sample = sample(&mut peer, *backend, total)?;
                if round > 0 {
                    samples.push(sample);
                }
            }
        }
    }
    Ok(backends
        .iter()
        .zip(&samples)
        .map(|((subject, _), [few, all])| Flat {
            subject,
            in_flight: [FEW, many],
            cpu_us: [few, all].map(|s| median_of(s, Sample::cpu_us)),
            cpu_ratio: ratio(all, few, Sample::cpu_us).unwrap_or(f64::NAN),
            process_cpu_us: [few, all].map(|s| median_of(s, Sample::process_cpu_us)),
            process_cpu_ratio: ratio(all, few, Sample::process_cpu_us).unwrap_or(f64::NAN),
        })
        .collect())
}

/// Closes, a hundred at a time, beside others that stand: acknowledged, and held
/// until their peers close too. So `in_flight` are, and the kernel has nothing to
/// do for those that stand. Plain close(2), with the others merely open, shows
/// what the kernel's share in the growth is.
fn sample(peer: &mut Peer, backend: Option<CloserBackend>, in_flight: usize) -> io::Result<Sample> {
    let mut streams = scenario::connect(peer, in_flight - FEW + CLOSES, Habit::Stays)?;
    let standing = streams.split_off(CLOSES);
    let (mark, began);
    let spent = match backend {
        None => {
            (mark, began) = (Mark::now(Pid::this())?, Instant::now());
            while !streams.is_empty() {
                drop(streams.split_off(streams.len() - FEW));
            }
            mark.spent()?
        }
        Some(backend) => {
            let closer = Closer::builder().backend(backend).build()?;
            for stream in standing {
                closer.close(stream, Policy::wait(DEADLINE).with_confirm(true), |_| {})?;
            }
            clock::settled_heap();
            (mark, began) = (Mark::now(Pid::this())?, Instant::now());
            close_groups(&closer, streams)?;
            let spent = mark.spent()?;
            peer.drop_all()?;
            if !closer.wait_idle(DEADLINE) {
                return Err(io::Error::other("endings did not end with their peers"));
            }
            spent
        }
    };
    let wall = began.elapsed();
    peer.drop_all()?;
    Ok(Sample {
        closes: CLOSES,
        spent,
        wall,
        bytes_per_ending: None,
        threads: clock::threads(Pid::this())?,
    })
}

fn close_groups(closer: &Closer, mut streams: Vec<TcpStream>) -> io::Result<()> {
    let (told, reports) = mpsc::channel();
    while !streams.is_empty() {
        for stream in streams.split_off(streams.len() - FEW) {
            let told = told.clone();
            let policy = Policy::wait(DEADLINE).with_drain_time(Duration::ZERO);
            closer.close(stream, policy, move |result| {
                let _ = told.send(result);
            })?;
        }
        for result in reports.iter().take(FEW) {
            result?;
        }
    }
    Ok(())
}
