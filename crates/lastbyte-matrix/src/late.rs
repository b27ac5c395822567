//! How late this machine wakes a thread that sleeps: what a deadline may be late by.
//!
//! A thread of its own sleeps a few milliseconds again and again and notes how much
//! longer each sleep took. A cell's deadline is judged by the worst of them while the
//! cell was played: on a quiet machine it is held to the millisecond.

use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lastbyte_lab::harness::Stamp;

const NAP: Duration = Duration::from_millis(5);
/// Sleeps that are remembered: more than a cell and its controls take.
const REMEMBERED: usize = 40_000;

static SLEEPS: LazyLock<Mutex<VecDeque<(Stamp, Duration)>>> = LazyLock::new(Mutex::default);

/// Begins to watch; once in a process.
pub fn watch() {
    std::thread::spawn(|| {
        loop {
            let began = Instant::now();
            std::thread::sleep(NAP);
            let late = began.elapsed().saturating_sub(NAP);
            let mut sleeps = SLEEPS.lock().unwrap_or_else(PoisonError::into_inner);
            if sleeps.len() == REMEMBERED {
                sleeps.pop_front();
            }
            sleeps.push_back((Stamp::now(), late));
        }
    });
}

/// The latest that a sleep was between two moments; the one under way when the second
/// passed is waited for.
#[must_use]
pub fn worst(from: Stamp, to: Stamp) -> Duration {
    loop {
        let sleeps = SLEEPS.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((last, _)) = sleeps.back() else {
            return Duration::ZERO;
        };
        if *last > to {
            let within = sleeps.iter().filter(|(end, _)| *end >= from);
            return within.map(|(_, late)| *late).max().unwrap_or_default();
        }
        drop(sleeps);
        std::thread::sleep(NAP);
    }
}
