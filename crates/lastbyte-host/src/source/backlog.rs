//! What was collected and waits to be joined: bounded, and what it cannot hold
//! counted.

use std::collections::VecDeque;
use std::time::Duration;
use std::vec;

use super::steps::{Missed, Step};
use crate::losses::Dropped;
use crate::parse::inet_diag::Socket;

/// Destroy notices kept for a slow consumer; 40 MB.
const NOTICES: usize = 1 << 18;
/// Steps kept for a slow consumer; 59 MB.
const STEPS: usize = 1 << 19;
/// Steps older than this are passed over when their turn comes, so that whoever
/// has fallen behind catches up. Destroy notices never are.
const LATE: Duration = Duration::from_secs(3);

/// What the kernel told in a moment. What was missed is to be taken into account
/// first, then the steps: each fires before its socket's destroy notice is written.
#[derive(Debug)]
pub(crate) struct Batch {
    /// When it was collected.
    pub at: u64,
    /// Steps that were dropped.
    pub missed: Missed,
    /// Steps, in the order of time.
    pub traces: vec::IntoIter<Step>,
    /// Destroy notices and when they came, in the order they came.
    pub notices: vec::IntoIter<(u64, Socket)>,
}

/// Batches, oldest first.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    batches: VecDeque<Batch>,
    notices: usize,
    steps: usize,
    pub(super) dropped_notices: Dropped,
    pub(super) dropped_steps: Dropped,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Keeps what there is room for. `missed` tells what the kernel dropped of the
    /// steps, `unseen` of the destroy notices.
    pub(super) fn push(
        &mut self,
        at: u64,
        mut steps: Vec<Step>,
        mut notices: Vec<(u64, Socket)>,
        mut missed: Missed,
        unseen: u64,
    ) {
        self.dropped_notices.by_kernel += unseen;
        self.dropped_steps.by_kernel += missed.count;
        let room = NOTICES.saturating_sub(self.notices);
        self.dropped_notices.here += notices.len().saturating_sub(room) as u64;
        notices.truncate(room);
        let room = STEPS.saturating_sub(self.steps);
        self.dropped_steps.here += missed.steps(steps.get(room..).unwrap_or_default());
        steps.truncate(room);
        self.notices += notices.len();
        self.steps += steps.len();
        if !steps.is_empty() || !notices.is_empty() || missed.any() {
            self.batches.push_back(Batch {
                at,
                missed,
                traces: steps.into_iter(),
                notices: notices.into_iter(),
            });
        }
    }

    /// The oldest batch.
    pub(super) fn pop(&mut self, now: u64) -> Option<Batch> {
        let mut batch = self.batches.pop_front()?;
        self.notices -= batch.notices.len();
        self.steps -= batch.traces.len();
        if u128::from(now.saturating_sub(batch.at)) > LATE.as_nanos() {
            self.dropped_steps.here += batch.missed.steps(batch.traces.as_slice());
            batch.traces = Vec::new().into_iter();
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::trace::{Event, Trace};
    use crate::tuple::{Endpoint, State, Tuple};

    fn steps(number: usize, from: u64) -> Vec<Step> {
        let event = Event::Destroy { sk: 1, cookie: 2 };
        let trace = Trace {
            event,
            in_process: false,
            thread: 0,
        };
        (0..number as u64)
            .map(|n| (from + n, trace, None))
            .collect()
    }

    fn notices(number: usize) -> Vec<(u64, Socket)> {
        let socket = Socket {
            space: 0,
            tuple: Tuple {
                local: Endpoint::UNKNOWN,
                remote: Endpoint::UNKNOWN,
            },
            state: State::Closed,
            cookie: 0,
            rqueue: 0,
            wqueue: 0,
            expires_ms: 0,
            uid: 0,
            inode: 0,
            full: None,
            mptcp: false,
            info: None,
        };
        vec![(0, socket); number]
    }

    #[test]
    fn it_is_bounded_and_counts_each_that_it_could_not_keep() {
        let mut backlog = Backlog::default();
        let parts = 8;
        for n in 0..=parts {
            let steps = steps(STEPS / parts, n as u64 * STEPS as u64);
            let told = notices(NOTICES / parts + 1);
            backlog.push(0, steps, told, Missed::default(), 0);
        }
        let given = (parts + 1) * (NOTICES / parts + 1);
        let mut kept = (0, 0);
        let mut last = None;
        while let Some(batch) = backlog.pop(0) {
            kept.0 += batch.traces.len();
            kept.1 += batch.notices.len();
            last = Some(batch.missed);
        }
        assert_eq!(kept, (STEPS, NOTICES));
        assert_eq!(backlog.dropped_steps.here, (STEPS / parts) as u64);
        assert_eq!(backlog.dropped_notices.here as usize, given - NOTICES);
        // When the steps were missed is told with what came beside them.
        let from = (parts * STEPS) as u64;
        let missed = last.expect("some batches");
        let until = from + (STEPS / parts) as u64 - 1;
        assert_eq!((missed.from, missed.until), (from, until));
        // There is room again.
        backlog.push(0, steps(1, 0), notices(1), Missed::default(), 7);
        assert!(backlog.pop(0).is_some());
        assert_eq!(backlog.dropped_notices.by_kernel, 7);
    }

    #[test]
    fn late_steps_are_passed_over_and_no_destroy_notice() {
        let mut backlog = Backlog::default();
        backlog.push(0, steps(5, 10), notices(3), Missed::default(), 0);
        let batch = backlog
            .pop(LATE.as_nanos() as u64 + 1)
            .expect("it is there");
        assert_eq!((batch.traces.len(), batch.notices.len()), (0, 3));
        assert_eq!((batch.missed.from, batch.missed.until), (10, 14));
        assert_eq!(backlog.dropped_steps.here, 5);
        assert!(backlog.is_empty());
    }
}
