//! How what was collected reaches the tracker, and its questions the kernel.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::{LAST_BATCH, SHARE, STEP, Watcher};
use crate::parse::inet_diag::Socket;
use crate::source::clock;
use crate::source::collector::Taken;
use crate::tuple::{State, Tuple};

/// Between two dumps of the listeners alone, at least.
const LISTENERS: Duration = Duration::from_millis(20);
/// How long the collector is waited for at the end, on a machine too busy for it.
const LAST_STEPS: Duration = Duration::from_secs(2);
/// Steps, and destroy notices, joined between two looks at the clock.
const HANDFUL: usize = 512;
/// Questions asked between two looks at the clock.
const QUERIES: usize = 256;

impl Watcher {
    /// Joins all that was there when it began.
    pub(super) fn catch_up(&mut self) -> io::Result<()> {
        let (asked, began) = (clock::monotonic(), Instant::now());
        self.collector.collect_now();
        while self.joined < asked && began.elapsed() < LAST_STEPS {
            self.read(LAST_BATCH)?;
        }
        Ok(())
    }

    /// Takes what was collected and joins as much as fits a step. Returns whether more may
    /// be there.
    pub(super) fn read(&mut self, mut wait: Duration) -> io::Result<bool> {
        let began = Instant::now();
        while self.has_batch(wait)? {
            wait = Duration::ZERO;
            self.join_some()?;
            if began.elapsed() > STEP {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the next batch where the last one is joined. Returns `false` where none comes
    /// within `wait`.
    fn has_batch(&mut self, wait: Duration) -> io::Result<bool> {
        if self.batch.is_none() {
            match self.collector.take(wait)? {
                Taken::AllUpTo(then) => self.joined = then,
                Taken::Batch(batch) => {
                    if batch.missed.any() {
                        self.tracker.missed(batch.missed.from, batch.missed.until);
                    }
                    self.batch = Some(batch);
                }
            }
        }
        Ok(self.batch.is_some())
    }

    /// Joins some of the batch: its steps first, then its destroy notices.
    fn join_some(&mut self) -> io::Result<()> {
        let Some(mut batch) = self.batch.take() else {
            return Ok(());
        };
        for (at, trace, process) in batch.traces.by_ref().take(HANDFUL) {
            self.tracker.trace(at, &trace, process);
        }
        if batch.traces.len() == 0 {
            let next = batch.notices.as_slice();
            self.look_for_listeners(&next[..next.len().min(HANDFUL)])?;
            for (at, socket) in batch.notices.by_ref().take(HANDFUL) {
                self.tracker.destroy_notice(at, &socket);
            }
        }
        if batch.traces.len() + batch.notices.len() == 0 {
            self.joined = batch.at;
        } else {
            self.batch = Some(batch);
        }
        Ok(())
    }

    /// Reads which ports listen, where that adds to what these destroy notices tell, and
    /// not too often.
    fn look_for_listeners(&mut self, notices: &[(u64, Socket)]) -> io::Result<()> {
        let Self {
            spaces, tracker, ..
        } = self;
        let began = Instant::now();
        if began < self.next_listeners || !tracker.wants_listeners(notices) {
            return Ok(());
        }
        for diag in spaces.diags() {
            diag.dump(State::Listen.bit(), false, |socket| {
                tracker.listener(socket)
            })?;
        }
        self.next_listeners = Instant::now() + LISTENERS.max(began.elapsed() * SHARE);
        Ok(())
    }

    /// Asks the kernel some of the questions that are due. Returns whether more may be due.
    pub(super) fn ask_kernel(&mut self) -> io::Result<bool> {
        let queries = self.tracker.queries(clock::monotonic(), QUERIES);
        let Self {
            spaces, tracker, ..
        } = self;
        let mut by_space: BTreeMap<u32, Vec<Tuple>> = BTreeMap::new();
        for place in &queries {
            by_space.entry(place.space).or_default().push(place.tuple);
        }
        for (space, tuples) in by_space {
            // Endings of a network namespace that went are finished soon anyway.
            if let Some(diag) = spaces.diag(space) {
                diag.find(&tuples, |place, socket| {
                    tracker.answer(clock::monotonic(), place, socket);
                })?;
            }
        }
        Ok(queries.len() == QUERIES)
    }
}
