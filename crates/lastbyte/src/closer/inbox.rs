//! What the threads that submit share with the one that closes.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::block_queue::BlockQueue;
use super::sync::{AtomicUsize, Condvar, Mutex, MutexGuard, Ordering};

pub(super) struct Inbox<W, J> {
    queue: Mutex<Queue<J>>,
    idle: Condvar,
    pub(super) waker: W,
    pub(super) in_flight: AtomicUsize,
    limit: usize,
}

struct Queue<J> {
    jobs: BlockQueue<J>,
    /// No further jobs will come.
    closed: bool,
}

/// What wakes the thread that closes, and stays on until it is reset.
pub(super) trait Wake {
    fn wake(&self);
    fn reset(&self);
}

impl<W: Wake, J> Inbox<W, J> {
    pub(super) fn new(limit: usize, waker: W) -> Self {
        Self {
            queue: Mutex::new(Queue {
                jobs: BlockQueue::new(),
                closed: false,
            }),
            idle: Condvar::new(),
            waker,
            in_flight: AtomicUsize::new(0),
            limit,
        }
    }

    /// Puts a job in, or gives it back at the limit and without memory.
    pub(super) fn submit(&self, job: J) -> Result<(), J> {
        if !self.reserve() {
            return Err(job);
        }
        self.push(job).inspect_err(|_| self.done())
    }

    /// Takes a place among those in flight, which [`done`](Self::done) gives back. False
    /// at the limit.
    pub(super) fn reserve(&self) -> bool {
        self.in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < self.limit).then_some(n + 1)
            })
            .is_ok()
    }

    /// Puts a job in whatever the limit, for an ending that has begun.
    pub(super) fn submit_begun(&self, job: J) -> Result<(), J> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.push(job).inspect_err(|_| self.done())
    }

    /// Puts a job in that has its place. Gives it back once no more may come, and without
    /// memory.
    pub(super) fn push(&self, job: J) -> Result<(), J> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(job);
        }
        let first = queue.jobs.is_empty();
        queue.jobs.push(job)?;
        drop(queue);
        if first {
            self.waker.wake();
        }
        Ok(())
    }

    /// Adds the waiting jobs to `into`. Returns `false` when none will follow.
    pub(super) fn take(&self, into: &mut BlockQueue<J>) -> bool {
        self.waker.reset();
        let mut queue = self.lock();
        into.append(&mut queue.jobs);
        !queue.closed
    }

    /// One ending's descriptor is closed.
    pub(super) fn done(&self) {
        if self.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Taken, so that nobody is between looking and waiting.
            drop(self.lock());
            self.idle.notify_all();
        }
    }

    pub(super) fn no_more(&self) {
        self.lock().closed = true;
        self.waker.wake();
    }

    /// Waits up to `time` until nothing is in flight. Returns `false` on timeout.
    pub(super) fn wait_idle(&self, time: Duration) -> bool {
        let until = Instant::now().checked_add(time);
        let mut queue = self.lock();
        while self.in_flight.load(Ordering::Acquire) > 0 {
            let left = until.map_or(time, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return false;
            }
            (queue, _) = self
                .idle
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Nothing that runs under this lock can leave the queue half changed.
    fn lock(&self) -> MutexGuard<'_, Queue<J>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
