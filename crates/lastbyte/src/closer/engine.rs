//! The thread's loop: submissions in, edges and deadlines to endings, reports out.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Sink;
use super::drain::Draining;
use super::inbox::{Inbox, Job};
use super::jobs::Jobs;
use super::receipts::{Receipts, Told};
use super::slots::{Key, Slots, place};
use super::wheel::Wheel;
use crate::blocking::outcome;
use crate::error::CloseError;
use crate::live::{self, Live, Progress, Ready};
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::{Look, Readiness, peer_address};

const WAKER: u64 = u64::MAX;
const RECEIPTS: u64 = u64::MAX - 2;
/// Jobs taken up between two looks at what has happened.
const BATCH: usize = 512;
/// How long a connection's ACK is given, while there are jobs waiting, before
/// its edges are watched: longer than peers delay ACKs (RFC 9293 §3.8.6.3; Linux
/// 40 ms).
const SETTLE: Duration = Duration::from_millis(50);
/// When watching is tried again that could not be had.
const AGAIN: Duration = Duration::from_millis(5);

pub(super) struct Engine<R> {
    inbox: Arc<Inbox>,
    readiness: R,
    slots: Slots<Entry>,
    wheel: Wheel,
    /// The wheel's zero.
    epoch: Instant,
    jobs: Jobs<Job>,
    /// Begun and not watched yet, oldest first. Most are acknowledged by the time
    /// a burst of closes is through, and then one look is cheaper than a watch.
    fresh: VecDeque<(Key, Nanos)>,
    draining: Option<Draining>,
    /// Subscribed with the first close that asks for it.
    receipts: Option<Receipts>,
}

/// Since the engine's epoch.
type Nanos = u64;

struct Entry {
    live: Live,
    /// Until the report.
    sink: Option<Sink>,
    reported: bool,
    watched: bool,
}

impl<R: Readiness> Engine<R> {
    pub(super) fn new(inbox: Arc<Inbox>, mut readiness: R) -> io::Result<Self> {
        readiness.add_readable(inbox.waker.as_fd(), WAKER)?;
        Ok(Self {
            inbox,
            readiness,
            slots: Slots::new(),
            wheel: Wheel::new(),
            epoch: Instant::now(),
            jobs: Jobs::new(),
            fresh: VecDeque::new(),
            draining: None,
            receipts: None,
        })
    }

    /// Runs until no further jobs can come and none is in flight.
    pub(super) fn run(mut self) {
        let mut events = Vec::new();
        let mut open = true;
        while open || !self.jobs.is_empty() || !self.is_idle() {
            let time = self.time_left();
            if let Err(error) = self.readiness.wait(&mut events, time) {
                // It does not fail on descriptors of ours; if ever, every ending
                // goes on where it can.
                return self.abandon(&error);
            }
            let mut woken = false;
            for event in &events {
                match event.token() {
                    WAKER => woken = true,
                    RECEIPTS => self.read_receipts(),
                    key => self.step(key, event.look()),
                }
                if event.spent() && self.watch_anew(event.token()).is_err() {
                    return self.abandon(&io::ErrorKind::OutOfMemory.into());
                }
            }
            if woken {
                open = self.inbox.take(&mut self.jobs);
            }
            for _ in 0..BATCH {
                let Some(job) = self.jobs.pop() else { break };
                self.admit(job);
            }
            self.settle();
            self.expire();
            self.go_on_draining();
        }
    }

    fn admit(&mut self, job: Job) {
        match job {
            Job::Begin {
                socket,
                policy,
                began,
                sink,
            } => {
                if policy.is_by_receipt() {
                    self.leave(socket, &policy, began, sink);
                } else {
                    self.begin(socket, &policy, began, sink);
                }
            }
            // Begun elsewhere; nobody awaits its report any more.
            Job::Adopt(live) => self.seat(Entry::new(live, None)),
            Job::Drain { until, reply } => {
                let waiting = self
                    .slots
                    .iter()
                    .filter(|(_, entry)| !entry.reported)
                    .map(|(key, entry)| (key, peer_address(entry.live.socket())))
                    .collect();
                let left = self.receipts.as_ref().map_or(0, Receipts::len);
                self.draining = Some(Draining::new(until, waiting, left, reply));
            }
        }
    }

    fn begin(&mut self, socket: OwnedFd, policy: &Policy, began: Instant, sink: Sink) {
        let ready = match Ready::look(socket, policy, began) {
            Ok(ready) => ready,
            Err(error) => return self.done(sink, Err(error)),
        };
        let (live, Progress { report, over }) = ready.start_unseen();
        let mut entry = Entry::new(live, Some(sink));
        entry.tell(report);
        if over {
            self.inbox.done();
        } else {
            self.seat(entry);
        }
    }

    /// Leaves a connection to the kernel where its last word will be heard, and
    /// holds it where not.
    fn leave(&mut self, socket: OwnedFd, policy: &Policy, began: Instant, sink: Sink) {
        if self.receipts.is_none() {
            self.receipts = self.subscribe().ok();
        }
        let Some(receipts) = &mut self.receipts else {
            return self.begin(socket, policy, began, sink);
        };
        match live::leave(socket) {
            Ok((cookie, left)) => receipts.await_word(cookie, left, began, sink),
            Err(socket) => self.begin(socket, policy, began, sink),
        }
    }

    fn subscribe(&mut self) -> io::Result<Receipts> {
        let receipts = Receipts::subscribe()?;
        self.readiness.add_readable(receipts.as_fd(), RECEIPTS)?;
        Ok(receipts)
    }

    fn read_receipts(&mut self) {
        if let Some(receipts) = &mut self.receipts {
            let (inbox, draining) = (&self.inbox, &mut self.draining);
            receipts.read(|told| tell_receipt(told, inbox, draining));
        }
    }

    fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.receipts.as_ref().is_none_or(Receipts::is_empty)
    }

    fn seat(&mut self, entry: Entry) {
        let key = self.slots.insert(entry);
        self.schedule(key);
        let now = self.since_epoch(Instant::now());
        self.fresh.push_back((key, now));
    }

    /// Looks at what was begun, and watches what is not over yet. While jobs wait
    /// that takes its time; once none does, nothing stays unwatched.
    fn settle(&mut self) {
        let now = self.since_epoch(Instant::now());
        let settle = SETTLE.as_nanos() as Nanos;
        let busy = !self.jobs.is_empty();
        for _ in 0..self.fresh.len() {
            let Some(&(key, since)) = self.fresh.front() else {
                break;
            };
            if busy && now - since < settle {
                break;
            }
            self.fresh.pop_front();
            self.step(key, Look::Queue);
            self.watch(key, now);
        }
    }

    fn watch(&mut self, key: Key, now: Nanos) {
        let Some(entry) = self.slots.get_mut(key).filter(|e| !e.watched) else {
            return;
        };
        // What holds already comes as the first event.
        match self.readiness.add(entry.live.socket(), key) {
            Ok(()) => entry.watched = true,
            // No memory, or too many watches. It must not be lost: another look,
            // and another try, a little later.
            Err(_) => self.fresh.push_back((key, now)),
        }
    }

    fn done(&self, sink: Sink, result: Result<Report, CloseError>) {
        call(sink, result);
        self.inbox.done();
    }

    fn step(&mut self, key: Key, how: Look) {
        // An event of an ending that an earlier one of the same batch finished.
        let Some(entry) = self.slots.get_mut(key) else {
            return;
        };
        let Progress { report, over } = entry.live.step(how);
        if let (Some(report), Some(draining)) = (&report, &mut self.draining) {
            draining.note(key, report);
        }
        entry.tell(report);
        if over {
            self.wheel.set(place(key), None);
            if self.slots.remove(key).is_some_and(|entry| entry.watched) {
                self.readiness.forget(key);
            }
            self.inbox.done();
        } else {
            self.schedule(key);
        }
    }

    fn watch_anew(&mut self, token: u64) -> io::Result<()> {
        if token == WAKER {
            let waker = self.inbox.waker.as_fd();
            return self.readiness.add_readable(waker, WAKER);
        }
        if let (RECEIPTS, Some(receipts)) = (token, &self.receipts) {
            return self.readiness.add_readable(receipts.as_fd(), RECEIPTS);
        }
        match self.slots.get_mut(token) {
            Some(entry) => self.readiness.add(entry.live.socket(), token),
            None => Ok(()),
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
                self.step(key, Look::Full);
            }
        }
    }

    /// Ends a drain when everything is reported, which at its deadline it is.
    fn go_on_draining(&mut self) {
        let Some(draining) = &self.draining else {
            return;
        };
        if !draining.is_over() && Instant::now() >= draining.until {
            for key in draining.waiting() {
                if let Some(entry) = self.slots.get_mut(key) {
                    entry.live.cut_short();
                }
                self.step(key, Look::Full);
            }
            if let Some(receipts) = &mut self.receipts {
                let (inbox, draining) = (&self.inbox, &mut self.draining);
                receipts.give_up(|told| tell_receipt(told, inbox, draining));
            }
        }
        if let Some(draining) = self
            .draining
            .take_if(|d| d.is_over() || Instant::now() >= d.until)
        {
            draining.finish();
        }
    }

    fn time_left(&self) -> Option<Duration> {
        let turn = self
            .wheel
            .next_turn()
            .map(|turn| self.epoch + Duration::from_nanos(turn));
        if !self.jobs.is_empty() {
            return Some(Duration::ZERO);
        }
        let drain = self.draining.as_ref().map(|draining| draining.until);
        let now = Instant::now();
        let again = (!self.fresh.is_empty()).then(|| now + AGAIN);
        let next = turn.into_iter().chain(drain).chain(again).min()?;
        Some(next.saturating_duration_since(now))
    }

    fn since_epoch(&self, time: Instant) -> Nanos {
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
        if let Some(mut receipts) = self.receipts.take() {
            receipts.give_up(|told| tell_receipt(told, &self.inbox, &mut self.draining));
        }
    }
}

fn tell_receipt((sink, report): Told, inbox: &Inbox, draining: &mut Option<Draining>) {
    if let Some(draining) = draining {
        draining.note_left(&report);
    }
    call(sink, outcome(report));
    inbox.done();
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

impl Entry {
    const fn new(live: Live, sink: Option<Sink>) -> Self {
        Self {
            live,
            sink,
            reported: false,
            watched: false,
        }
    }

    /// Gives the report to whoever waits for it, once.
    fn tell(&mut self, report: Option<Report>) {
        let Some(report) = report else { return };
        self.reported = true;
        if let Some(sink) = self.sink.take() {
            call(sink, outcome(report));
        }
    }
}
