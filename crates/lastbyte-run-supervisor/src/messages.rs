//! What people are told on standard error.
//!
//! A thread of its own writes it, so that a terminal that is stopped, a full pipe or a
//! full disk holds up no ending; and what a program of the run can cause without end is
//! said a few times a second at most.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Lines that wait to be written; more are left out, and counted.
const QUEUE: usize = 256;
/// How long the last lines are given.
const LAST: Duration = Duration::from_secs(2);
/// What programs cause: so many lines at once, and then one each time.
const BURST: u32 = 20;
const EVERY: Duration = Duration::from_secs(1);

enum Job {
    Line(String),
    Reached(SyncSender<()>),
}

fn queue() -> Option<&'static SyncSender<Job>> {
    static QUEUE_OF_LINES: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    QUEUE_OF_LINES
        .get_or_init(|| {
            let (jobs, inbox) = mpsc::sync_channel(QUEUE);
            // It may be started before our signals are blocked, and must not take them.
            let writer = with_signals_blocked(|| {
                std::thread::Builder::new()
                    .name("lastbyte-stderr".to_owned())
                    .spawn(move || write_all(&inbox))
            });
            writer.is_ok().then_some(jobs)
        })
        .as_ref()
}

fn with_signals_blocked<T>(call: impl FnOnce() -> T) -> T {
    let mut all = std::mem::MaybeUninit::uninit();
    let mut before = std::mem::MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set; the mask before is written by the first
    // call, which cannot fail, and read by the second.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        let result = call();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
        result
    }
}

fn write_all(inbox: &Receiver<Job>) {
    while let Ok(job) = inbox.recv() {
        match job {
            // Nobody is left to be told that it failed.
            Job::Line(line) => drop(io::stderr().write_all(line.as_bytes())),
            Job::Reached(done) => drop(done.send(())),
        }
    }
}

/// Says a line, in the command's name. Never waits and never fails.
pub fn print(text: impl std::fmt::Display) {
    if let Some(queue) = queue() {
        let _ = queue.try_send(Job::Line(format!("lastbyte: {text}\n")));
    }
}

/// Waits until what was said is written, two seconds at most.
pub fn finish() {
    let (done, reached) = mpsc::sync_channel(1);
    let until = Instant::now() + LAST;
    let Some(queue) = queue() else { return };
    let mut job = Job::Reached(done);
    while let Err(mpsc::TrySendError::Full(back)) = queue.try_send(job) {
        if Instant::now() >= until {
            return;
        }
        job = back;
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = reached.recv_timeout(until.saturating_duration_since(Instant::now()));
}

/// Says what programs can cause at will, a bounded number of times.
pub(crate) fn print_limited(text: impl std::fmt::Display) {
    static BUDGET: Mutex<Option<Budget>> = Mutex::new(None);
    let mut budget = BUDGET.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    match budget.get_or_insert_with(|| Budget::new(now)).take(now) {
        Some(0) => print(text),
        Some(left_out) => print(format_args!("{text} (and {left_out} lines like it before)")),
        None => {}
    }
}

/// How much more may be said.
struct Budget {
    left: u32,
    since: Instant,
    left_out: u64,
}

impl Budget {
    const fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            since: now,
            left_out: 0,
        }
    }

    /// How many lines were left out before this one; `None` if it is left out too.
    fn take(&mut self, now: Instant) -> Option<u64> {
        while self.left < BURST && now.saturating_duration_since(self.since) >= EVERY {
            self.left += 1;
            self.since += EVERY;
        }
        if self.left == BURST {
            self.since = now;
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_burst_and_then_a_line_each_time() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let said = (0..1000).filter(|_| budget.take(start).is_some()).count();
        assert_eq!(said, BURST as usize);
        assert_eq!(budget.take(start + EVERY / 2), None);
        let left_out = 1000 - u64::from(BURST) + 1;
        assert_eq!(budget.take(start + EVERY), Some(left_out));
        assert_eq!(budget.take(start + EVERY), None);
        let later = start + EVERY * 1000;
        let said = (0..1000).filter(|_| budget.take(later).is_some()).count();
        assert_eq!(said, BURST as usize, "no more is saved up");
    }
}
