//! What the threads that submit share with the one that closes.

use std::collections::TryReserveError;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Sink;
use super::drain::Drained;
use crate::live::Live;
use crate::policy::Policy;
use crate::sys::Waker;

/// Something to end.
pub(super) enum Job {
    Begin {
        socket: OwnedFd,
        policy: Policy,
        began: Instant,
        sink: Sink,
    },
    /// Begun elsewhere; nobody awaits the report any more.
    Adopt(Live),
    /// End everything by then, and tell.
    Drain {
        until: Instant,
        reply: mpsc::Sender<Drained>,
    },
}

pub(super) struct Inbox {
    queue: Mutex<Queue>,
    idle: Condvar,
    pub(super) waker: Waker,
    pub(super) in_flight: AtomicUsize,
    limit: usize,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// No further jobs will come.
    closed: bool,
}

impl Inbox {
    pub(super) fn new(limit: usize) -> io::Result<Self> {
        Ok(Self {
            queue: Mutex::default(),
            idle: Condvar::new(),
            waker: Waker::new()?,
            in_flight: AtomicUsize::new(0),
            limit,
        })
    }

    /// Puts a job in, or gives it back at the limit and without memory.
    pub(super) fn submit(&self, job: Job) -> Result<(), Job> {
        let place = self
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < self.limit).then_some(n + 1)
            });
        if place.is_err() {
            return Err(job);
        }
        self.push(job).inspect_err(|_| self.done())
    }

    /// Puts a job in whatever the limit, for an ending that has begun.
    pub(super) fn submit_begun(&self, job: Job) -> Result<(), Job> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.push(job).inspect_err(|_| self.done())
    }

    fn push(&self, job: Job) -> Result<(), Job> {
        let mut queue = self.lock();
        let room: Result<(), TryReserveError> = queue.jobs.try_reserve(1);
        if queue.closed || room.is_err() {
            return Err(job);
        }
        let first = queue.jobs.is_empty();
        queue.jobs.push(job);
        drop(queue);
        if first {
            self.waker.wake();
        }
        Ok(())
    }

    /// Swaps the waiting jobs for an empty list. False when none will follow.
    pub(super) fn take(&self, into: &mut Vec<Job>) -> bool {
        self.waker.reset();
        let mut queue = self.lock();
        std::mem::swap(&mut queue.jobs, into);
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

    /// Has everything ended by `until`; further jobs are refused.
    pub(super) fn drain(&self, until: Instant) -> mpsc::Receiver<Drained> {
        let (reply, drained) = mpsc::channel();
        // One refused because nothing is left to be drained drops its sender,
        // and the receiver sees that.
        let _ = self.push(Job::Drain { until, reply });
        self.no_more();
        drained
    }

    pub(super) fn no_more(&self) {
        self.lock().closed = true;
        self.waker.wake();
    }

    pub(super) fn wait_idle(&self, time: Duration) -> bool {
        let queue = self.lock();
        let (_queue, waited) = self
            .idle
            .wait_timeout_while(queue, time, |_| self.in_flight.load(Ordering::Acquire) > 0)
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// Nothing that runs under this lock can leave the queue half changed.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
