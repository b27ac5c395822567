//! The closer's inbox, its source included as it is, with loom's locks and atomics in
//! place of the standard library's.
#![cfg(test)]
#![allow(dead_code, reason = "the closer uses more of it than these tests")]
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

#[path = "../../src/closer/block_queue.rs"]
mod block_queue;
#[path = "../../src/closer/inbox.rs"]
mod inbox;
mod sync;

use block_queue::BlockQueue;
use inbox::{Inbox, Wake};
use loom::sync::Arc;
use loom::thread;
use sync::{Condvar, Mutex, Ordering};

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
        let event_loop = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                let (mut jobs, mut taken) = (BlockQueue::new(), 0);
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
        assert_eq!(event_loop.join().unwrap(), accepted);
        assert!(accepted >= 1);
        assert_eq!(inbox.in_flight.load(Ordering::Acquire), 0);
        assert_eq!(inbox.submit(9), Err(9));
    });
}
