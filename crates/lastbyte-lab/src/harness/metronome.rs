//! How late this machine itself is, seen twice: what the kernel says of one thread,
//! and a thread on each CPU that asks to be woken every
//! two milliseconds and notes when it was not.
//!
//! A deadline can be missed by the code under test, or by a machine too busy to run
//! any thread on time. Only the first is a fault, and only this tells them apart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::Stamp;

const PERIOD: Duration = Duration::from_millis(2);
/// What is worth noting.
const LATE_MS: f64 = 0.5;
/// On a larger machine that many CPUs are not all busy at once.
const CPUS: usize = 8;

/// Ticks on every CPU from its start to its drop.
#[derive(Debug)]
pub struct Metronome {
    late: Arc<Mutex<Vec<(Stamp, Stamp)>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Metronome {
    /// Starts to tick.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start() -> std::io::Result<Self> {
        let late = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut metronome = Self {
            late: Arc::clone(&late),
            stop: Arc::clone(&stop),
            threads: Vec::new(),
        };
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
        for cpu in cpus.take(CPUS) {
            let mut only = CpuSet::new();
            only.set(cpu)?;
            let (late, stop) = (Arc::clone(&late), Arc::clone(&stop));
            let thread = std::thread::Builder::new()
                .name("metronome".into())
                .spawn(move || {
                    // Anywhere is a measure too, if a poorer one.
                    let _ = sched_setaffinity(Pid::from_raw(0), &only);
                    while !stop.load(Ordering::Relaxed) {
                        let due = Stamp::now().after(PERIOD);
                        std::thread::sleep(PERIOD);
                        let woken = Stamp::now();
                        if woken - due > LATE_MS {
                            late.lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push((due, woken));
                        }
                    }
                })?;
            metronome.threads.push(thread);
        }
        Ok(metronome)
    }

    /// Returns how many milliseconds late the machine was, at worst, between `from` and
    /// `to`; zero where it was on time.
    #[must_use]
    pub fn late_between(&self, from: Stamp, to: Stamp) -> f64 {
        self.late
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|&&(due, woken)| due <= to.after(PERIOD) && woken >= from)
            .map(|&(due, woken)| woken - due)
            .fold(0.0, f64::max)
    }
}

/// Returns how many milliseconds the calling thread has been ready to run and got no CPU, in
/// all its life: the kernel's own account (`/proc/thread-self/schedstat`, second
/// figure). Zero on a kernel without it.
#[must_use]
pub fn starved() -> f64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok())
        .map_or(0.0, |nanos| nanos as f64 / 1e6)
}

/// When a thread that does many things one after the other was starved.
#[derive(Debug, Default)]
pub struct Starvation(Vec<(Stamp, f64)>);

impl Starvation {
    /// Notes how it is with the calling thread, always the same one.
    pub fn note(&mut self) {
        self.0.push((Stamp::now(), starved()));
    }

    /// For how many milliseconds it was, of the time from the last note before
    /// `due` to the last note of all.
    #[must_use]
    pub fn since(&self, due: Stamp) -> f64 {
        let before = self.0.partition_point(|&(at, _)| at <= due);
        let before = self.0[..before].last().or(self.0.first());
        match (before, self.0.last()) {
            (Some((_, before)), Some((_, now))) => now - before,
            _ => 0.0,
        }
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_counts_only_where_it_was() {
        let at = |ms: u32| Stamp::from_parts(1, ms * 1_000_000);
        let metronome = Metronome {
            late: Arc::new(Mutex::new(vec![(at(100), at(107)), (at(500), at(503))])),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let late = |from, to| metronome.late_between(at(from), at(to));
        assert!((late(95, 110) - 7.0).abs() < 1e-9);
        assert!((late(0, 900) - 7.0).abs() < 1e-9);
        assert!((late(501, 502) - 3.0).abs() < 1e-9);
        assert!(late(110, 490) == 0.0);
    }

    #[test]
    fn starvation_is_that_since_the_last_note_before() {
        let at = |ms: u32| Stamp::from_parts(1, ms * 1_000_000);
        let notes = vec![(at(10), 1.0), (at(20), 2.0), (at(90), 62.0), (at(91), 62.5)];
        let starvation = Starvation(notes);
        for (due, starved) in [(5, 61.5), (10, 61.5), (19, 61.5), (20, 60.5), (95, 0.0)] {
            assert!((starvation.since(at(due)) - starved).abs() < 1e-9, "{due}");
        }
        assert!(Starvation::default().since(at(1)) == 0.0);
    }
}
