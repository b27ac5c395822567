//! Runs rows side by side and gathers what they found.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::findings::{Findings, Trace};
use crate::harness::{Capture, Metronome, Place, Stamp};
use crate::rows::Row;
use crate::stage::{Stage, Stop};
use crate::subject::Subject;

/// Rows in flight at once. They mostly wait, so many more than there are cores.
const SIDE_BY_SIDE: usize = 24;

/// How far apart rows start, so that equal waits do not all end at once.
const APART: Duration = Duration::from_millis(10);

/// A place to run rows in, and the capture of what is on the wire there.
#[derive(Debug)]
pub struct Lab {
    place: Place,
    capture: Result<Arc<Capture>, String>,
    metronome: Option<Arc<Metronome>>,
    /// Held for writing by a row that runs alone, for reading by the others.
    floor: RwLock<()>,
}

/// One subject's outcome of one row.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It ran.
    Ran(Findings),
    /// It could not run here, and why.
    NotRun(String),
    /// The row itself failed, and why. Not kept.
    Broken(String),
}

impl Outcome {
    /// Returns whether the row ran and was kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        matches!(self, Outcome::Ran(findings) if findings.kept())
    }

    /// Returns why it did not run, if it did not.
    #[must_use]
    pub fn not_run(&self) -> Option<&str> {
        match self {
            Outcome::NotRun(why) => Some(why),
            _ => None,
        }
    }

    /// Returns what was seen, in one line.
    #[must_use]
    pub fn saw(&self) -> String {
        match self {
            Outcome::Ran(findings) => findings.seen(),
            Outcome::NotRun(why) | Outcome::Broken(why) => why.clone(),
        }
    }

    /// Returns what the row demanded and did not get.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        match self {
            Outcome::Ran(findings) => findings.faults(),
            _ => &[],
        }
    }

    /// The packets.
    #[must_use]
    pub fn traces(&self) -> &[Trace] {
        match self {
            Outcome::Ran(findings) => findings.traces(),
            _ => &[],
        }
    }
}

/// A row and each subject's outcome, in the order the subjects were given.
#[derive(Clone, Debug)]
pub struct RowResult {
    /// The row.
    pub row: &'static Row,
    /// The outcomes.
    pub outcomes: Vec<Outcome>,
}

/// All that a run found.
#[derive(Clone, Debug)]
pub struct Results {
    /// The kernel's release, as uname(2) gives it.
    pub kernel: String,
    /// Where it ran.
    pub place: Place,
    /// One for each row asked for.
    pub rows: Vec<RowResult>,
    /// Packets that the capture lost, of whatever connection.
    pub dropped: u64,
    /// How long it took.
    pub took: Duration,
}

impl Lab {
    /// Opens the lab in `place`, which [`enter`](crate::harness::enter) gave.
    /// Without a right to capture packets the rows that need them will not run,
    /// and say so.
    #[must_use]
    pub fn new(place: Place) -> Self {
        let capture = Capture::start()
            .map(Arc::new)
            .map_err(|e| match e.kind() {
                io::ErrorKind::PermissionDenied => {
                    "capturing them is not permitted here (it takes a namespace of our own, or CAP_NET_RAW)".to_owned()
                }
                _ => format!("capturing them failed: {e}"),
            });
        Self {
            place,
            capture,
            metronome: Metronome::start().map(Arc::new).ok(),
            floor: RwLock::new(()),
        }
    }

    /// The witnesses, for tests that bring their own connections.
    #[must_use]
    pub fn stage(&self, subject: Arc<dyn Subject>) -> Stage {
        Stage {
            subject,
            capture: self.capture.clone(),
            metronome: self.metronome.clone(),
        }
    }

    /// Runs one row for one subject on this thread, as soon as those in progress
    /// let it.
    #[must_use]
    pub fn try_row(&self, row: &Row, subject: Arc<dyn Subject>) -> Outcome {
        let stage = self.stage(subject);
        let (_shared, _alone) = if row.alone {
            (None, self.floor.write().ok())
        } else {
            (self.floor.read().ok(), None)
        };
        // A row that panics is a fault of the lab, and must not be taken for kept.
        match catch_unwind(AssertUnwindSafe(|| (row.run)(&stage))) {
            Ok(Ok(findings)) => Outcome::Ran(findings),
            Ok(Err(Stop::Fault(fault))) => Outcome::Ran(Findings::fault(fault)),
            Ok(Err(Stop::NotRun(why))) => Outcome::NotRun(why),
            Ok(Err(Stop::Broken(why))) => Outcome::Broken(why),
            Err(_) => Outcome::Broken("the row panicked".to_owned()),
        }
    }

    /// Runs `rows` for each of `subjects`, and calls `each` with a row's id
    /// whenever one subject has run it.
    pub fn run(
        &self,
        rows: &[&'static Row],
        subjects: &[Arc<dyn Subject>],
        each: &(dyn Fn(&'static Row) + Sync),
    ) -> Results {
        let begun = Stamp::now();
        let jobs = rows
            .iter()
            .enumerate()
            .flat_map(|(r, row)| (0..subjects.len()).map(move |s| (r, s, *row)));
        let (alone, together): (Vec<_>, Vec<_>) = jobs.partition(|(.., row)| row.alone);
        let queue = Mutex::new(VecDeque::from(together));
        let next = || {
            let mut queue = lock(&queue);
            let job = queue.pop_front()?;
            std::thread::sleep(APART);
            Some(job)
        };
        let done = Mutex::new(Vec::new());
        let take = |job: (usize, usize, &'static Row)| {
            let (r, s, row) = job;
            let outcome = self.try_row(row, Arc::clone(&subjects[s]));
            each(row);
            lock(&done).push((r, s, outcome));
        };
        std::thread::scope(|scope| {
            for _ in 0..SIDE_BY_SIDE {
                scope.spawn(|| {
                    while let Some(job) = next() {
                        take(job);
                    }
                });
            }
        });
        alone.into_iter().for_each(take);

        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|&(r, s, _)| (r, s));
        let mut done = done.into_iter().map(|(.., outcome)| outcome);
        let results = rows
            .iter()
            .map(|row| RowResult {
                row,
                outcomes: done.by_ref().take(subjects.len()).collect(),
            })
            .collect();
        Results {
            kernel: kernel_release(),
            place: self.place.clone(),
            rows: results,
            dropped: self.capture.as_ref().map_or(0, |c| c.dropped()),
            took: begun.elapsed(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `6.18.44…`, from uname(2).
fn kernel_release() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_| "unknown".to_owned(),
        |name| name.release().to_string_lossy().into_owned(),
    )
}
