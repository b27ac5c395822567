//! The thread's loop: submissions in, edges and deadlines to endings, reports out.

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Sink;
use super::inbox::{Inbox, Job};
use super::slots::{Key, Slots, place};
use super::wheel::Wheel;
use crate::blocking::outcome;
use crate::error::CloseError;
use crate::live::{Live, Progress, Ready};
use crate::report::Report;
use crate::sys::{Edges, Event};

const WAKER: u64 = u64::MAX;

pub(super) struct Engine {
    inbox: Arc<Inbox>,
    edges: Edges,
    slots: Slots<Entry>,
    wheel: Wheel,
    /// The wheel's zero.
    epoch: Instant,
}

struct Entry {
    live: Live,
    /// Until the report.
    sink: Option<Sink>,
}

impl Engine {
    pub(super) fn new(inbox: Arc<Inbox>) -> io::Result<Self> {
        let edges = Edges::new()?;
        edges.add_readable(inbox.waker.as_fd(), WAKER)?;
        Ok(Self {
            inbox,
            edges,
            slots: Slots::new(),
            wheel: Wheel::new(),
            epoch: Instant::now(),
        })
    }

    /// Runs until no further jobs can come and none is in flight.
    pub(super) fn run(mut self) {
        let mut events = vec![Event::NONE; 256];
        let mut jobs = Vec::new();
        let mut open = true;
        while open || !self.slots.is_empty() {
            let fired = match self.edges.wait(&mut events, self.time_left()) {
                Ok(fired) => fired,
                // It does not fail on a descriptor of ours; if ever, every
                // ending goes on where it can.
                Err(error) => return self.abandon(&error),
            };
            let mut woken = false;
            for event in fired {
                match event.token() {
                    WAKER => woken = true,
                    key => self.step(key, event.broken()),
                }
            }
            if woken {
                open = self.inbox.take(&mut jobs);
                for job in jobs.drain(..) {
                    self.admit(job);
                }
            }
            self.expire();
        }
    }

    fn admit(&mut self, job: Job) {
        match job {
            Job::Begin {
                socket,
                policy,
                began,
                sink,
            } => match Ready::look(socket, &policy, began) {
                Ok(ready) => self.begin(ready, sink),
                Err(error) => {
                    call(sink, Err(error));
                    self.inbox.done();
                }
            },
            Job::Adopt(live) => self.keep(live, None),
        }
    }

    fn begin(&mut self, ready: Ready, sink: Sink) {
        let (live, Progress { report, over }) = ready.start();
        let sink = tell(Some(sink), report);
        if over {
            self.inbox.done();
        } else {
            self.keep(live, sink);
        }
    }

    fn keep(&mut self, live: Live, sink: Option<Sink>) {
        let key = self.slots.insert(Entry { live, sink });
        let entry = self.slots.get_mut(key).expect("just inserted");
        if let Err(error) = self.edges.add(entry.live.socket(), key) {
            // Unwatched, its edges would never be seen.
            if let Some(mut entry) = self.slots.remove(key) {
                entry.live.release();
                if let Some(sink) = entry.sink {
                    call(sink, Err(CloseError::lost_sight(error)));
                }
            }
            self.inbox.done();
            return;
        }
        // epoll reports at once what is there already.
        self.schedule(key);
    }

    fn step(&mut self, key: Key, full: bool) {
        // An event of an ending that an earlier one of the same batch finished.
        let Some(entry) = self.slots.get_mut(key) else {
            return;
        };
        let Progress { report, over } = entry.live.step(full);
        entry.sink = tell(entry.sink.take(), report);
        if over {
            self.wheel.set(place(key), None);
            self.slots.remove(key);
            self.inbox.done();
        } else {
            self.schedule(key);
        }
    }

    fn schedule(&mut self, key: Key) {
        let due = self.slots.get_mut(key).and_then(|entry| entry.live.due());
        let due = due.map(|due| self.since_epoch(due));
        self.wheel.set(place(key), due);
    }

    fn expire(&mut self) {
        let now = self.since_epoch(Instant::now());
        while let Some(place) = self.wheel.pop(now) {
            if let Some(key) = self.slots.key(place) {
                self.step(key, true);
            }
        }
    }

    fn time_left(&self) -> Option<Duration> {
        let turn = self.wheel.next_turn()?;
        let now = self.since_epoch(Instant::now());
        Some(Duration::from_nanos(turn.saturating_sub(now)))
    }

    fn since_epoch(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Leaves every ending to the kernel and says so.
    fn abandon(mut self, error: &io::Error) {
        self.inbox.no_more();
        for mut entry in self.slots.drain() {
            entry.live.release();
            if let Some(sink) = entry.sink {
                call(sink, Err(CloseError::lost_sight(again(error))));
            }
            self.inbox.done();
        }
    }
}

/// A panic in somebody's callback must not end the others' connections.
fn call(sink: Sink, result: Result<Report, CloseError>) {
    // The panic hook has printed it already.
    let _ = catch_unwind(AssertUnwindSafe(|| sink(result)));
}

fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(raw) => io::Error::from_raw_os_error(raw),
        None => error.kind().into(),
    }
}

/// Gives the report to whoever waits for it, once.
fn tell(sink: Option<Sink>, report: Option<Report>) -> Option<Sink> {
    match (sink, report) {
        (Some(sink), Some(report)) => {
            call(sink, outcome(report));
            None
        }
        (sink, _) => sink,
    }
}
