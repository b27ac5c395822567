//! What the threads that submit share with the one that closes.

use std::os::fd::OwnedFd;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Sink;
use super::drain::Drained;
use super::jobs::Jobs;
use super::sync::{AtomicUsize, Condvar, Mutex, MutexGuard, Ordering};
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

pub(super) struct Inbox<W = Waker, J = Job> {
    queue: Mutex<Queue<J>>,
    idle: Condvar,
    pub(super) waker: W,
    pub(super) in_flight: AtomicUsize,
    limit: usize,
}

struct Queue<J> {
    jobs: Jobs<J>,
    /// No further jobs will come.
    closed: bool,
}

/// What wakes the thread that closes, and stays on until it is reset.
pub(super) trait Wake {
    fn wake(&self);
    fn reset(&self);
}

impl Wake for Waker {
    fn wake(&self) {
        Waker::wake(self);
    }

    fn reset(&self) {
        Waker::reset(self);
    }
}

impl Inbox {
    /// Has everything ended by `until`; further jobs are refused.
    pub(super) fn drain(&self, until: Instant) -> mpsc::Receiver<Drained> {
        let (reply, drained) = mpsc::channel();
        // One refused because nothing is left to be drained drops its sender,
        // and the receiver sees that.
        let _ = self.push(Job::Drain { until, reply });
        self.no_more();
        drained
    }
}

impl<W: Wake, J> Inbox<W, J> {
    pub(super) fn new(limit: usize, waker: W) -> Self {
        Self {
            queue: Mutex::new(Queue {
                jobs: Jobs::new(),
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
    pub(super) fn submit_begun(&self, job: J) -> Result<(), J> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.push(job).inspect_err(|_| self.done())
    }

    fn push(&self, job: J) -> Result<(), J> {
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

    /// Adds the waiting jobs to those at hand. False when none will follow.
    pub(super) fn take(&self, into: &mut Jobs<J>) -> bool {
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

    /// Waits until nothing is in flight, `time` at most. Whether that came.
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

#[cfg(all(test, lastbyte_loom))]
mod tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// An eventfd as loom can see it: a flag that the closing thread sleeps on.
    struct Flag {
        up: Mutex<bool>,
        changed: Condvar,
    }

    impl Flag {
        fn new() -> Self {
            Self {
                up: Mutex::new(false),
                changed: Condvar::new(),
            }
        }

        fn sleep(&self) {
            let mut up = self.up.lock().unwrap();
            while !*up {
                up = self.changed.wait(up).unwrap();
            }
        }
    }

    impl Wake for Flag {
        fn wake(&self) {
            *self.up.lock().unwrap() = true;
            self.changed.notify_one();
        }

        fn reset(&self) {
            *self.up.lock().unwrap() = false;
        }
    }

    /// Whatever the order: every accepted job is taken, every refused one comes
    /// back, the thread wakes for each and ends once no more can come.
    #[test]
    fn no_job_is_lost_and_no_wake_up_missed() {
        // Every interleaving with up to three preemptions; without a bound it takes hours.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let inbox = Arc::new(Inbox::<Flag, u32>::new(1, Flag::new()));
            let engine = {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || {
                    let (mut jobs, mut taken) = (Jobs::new(), 0);
                    let mut open = true;
                    while open {
                        inbox.waker.sleep();
                        open = inbox.take(&mut jobs);
                        while jobs.pop().is_some() {
                            taken += 1;
                            inbox.done();
                        }
                    }
                    taken
                })
            };
            let submitters: Vec<_> = (0..2)
                .map(|id| {
                    let inbox = Arc::clone(&inbox);
                    thread::spawn(move || match inbox.submit(id) {
                        Ok(()) => 1,
                        Err(back) => {
                            assert_eq!(back, id);
                            0
                        }
                    })
                })
                .collect();
            let accepted: u32 = submitters.into_iter().map(|s| s.join().unwrap()).sum();
            inbox.no_more();
            assert_eq!(engine.join().unwrap(), accepted);
            assert!(accepted >= 1);
            assert_eq!(inbox.in_flight.load(Ordering::Acquire), 0);
            assert_eq!(inbox.submit(9), Err(9));
        });
    }
}
