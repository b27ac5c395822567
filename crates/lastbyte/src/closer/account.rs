//! The account of a closer: what became of its connections, in its whole life and
//! since a drain began.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::drain::{ConnectionReport, DrainReport};
use crate::connection::Connection;
use crate::report::Report;
use crate::sums::Sums;

#[derive(Default)]
pub(super) struct Account {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether a drain has begun, for the thread that closes.
    draining: AtomicBool,
    /// The thread that closes has failed: it did not end for want of work.
    failed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Of all that ended since the closer was made.
    sums: Sums,
    /// Accepted, and not reported yet.
    unreported: usize,
    drain: Option<Drain>,
}

struct Drain {
    /// What is in flight then is cut short.
    until: Instant,
    drained: DrainReport,
}

impl Account {
    /// A connection is about to be accepted.
    pub(super) fn expect(&self) {
        self.state().unreported += 1;
    }

    /// It is reported, or was not accepted after all.
    pub(super) fn settle(&self) {
        let mut state = self.state();
        state.unreported -= 1;
        if state.unreported == 0 {
            self.changed.notify_all();
        }
    }

    /// Counts a connection that has ended.
    pub(super) fn note(&self, connection: Option<Connection>, report: &Report) {
        let mut state = self.state();
        state.sums.add(report);
        if let Some(drain) = &mut state.drain {
            drain.drained.sums.add(report);
            drain.drained.endings.push(ConnectionReport {
                connection: connection.unwrap_or_default(),
                report: *report,
            });
        }
    }

    /// Counts a connection of whose end there is no report.
    pub(super) fn note_unseen(&self) {
        let mut state = self.state();
        state.sums.add_unseen();
        if let Some(drain) = &mut state.drain {
            drain.drained.sums.add_unseen();
        }
    }

    pub(super) fn sums(&self) -> Sums {
        self.state().sums
    }

    /// A drain begins, or one that has begun ends earlier.
    pub(super) fn begin_drain(&self, until: Instant) {
        let mut state = self.state();
        match &mut state.drain {
            Some(drain) => drain.until = drain.until.min(until),
            None => {
                let before = state.sums;
                state.drain = Some(Drain {
                    until,
                    drained: DrainReport {
                        before,
                        ..DrainReport::default()
                    },
                });
            }
        }
        self.draining.store(true, Ordering::Release);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Returns when the drain ends, if there is one.
    pub(super) fn drain_until(&self) -> Option<Instant> {
        self.state().drain.as_ref().map(|drain| drain.until)
    }

    /// Waits until everything is reported, and returns what ended since the first drain
    /// began.
    pub(super) fn drained(&self) -> DrainReport {
        let mut state = self.state();
        while state.unreported > 0 {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let drain = state.drain.as_ref();
        drain.map_or_else(DrainReport::default, |drain| drain.drained.clone())
    }

    /// Waits up to `time` until everything is reported. Returns `false` on timeout.
    pub(super) fn wait_reported(&self, time: Duration) -> bool {
        let until = Instant::now().checked_add(time);
        let mut state = self.state();
        while state.unreported > 0 {
            let left = until.map_or(time, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return false;
            }
            (state, _) = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    pub(super) fn unreported(&self) -> usize {
        self.state().unreported
    }

    /// The thread that closes has ended with connections in flight, or might have.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Nothing that runs under this lock can leave the account half written.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
