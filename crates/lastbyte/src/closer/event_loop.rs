//! The thread's loop: submissions in, edges and deadlines to endings, reports out.

mod draining;
mod entry;

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::block_queue::BlockQueue;
use super::destroy_notices::DestroyNotices;
use super::job::{Begin, Job, Submitted};
use super::slab::{Key, Slab, place};
use super::timer_wheel::TimerWheel;
use super::{Shared, Sink};
use crate::contain::contain;
use crate::driver::{self, Driver, Prepared, Progress};
use crate::error::CloseError;
use crate::hook;
use crate::sys::{HasSocket, Look, Readiness, descriptor_limit};
use draining::Draining;
use entry::{Entry, report_notice};

const WAKER: u64 = u64::MAX;
const NOTICES: u64 = u64::MAX - 2;
/// Jobs taken up between two looks at what has happened.
const BATCH: usize = 512;
/// How long a connection's ACK is given, while there are jobs waiting, before
/// its edges are watched: longer than peers delay ACKs (RFC 9293 §3.8.6.3; Linux
/// 40 ms).
const SETTLE: Duration = Duration::from_millis(50);
/// When watching is tried again that could not be had.
const AGAIN: Duration = Duration::from_millis(5);

pub(super) struct EventLoop<R> {
    shared: Arc<Shared>,
    readiness: R,
    entries: Slab<Entry>,
    timers: TimerWheel,
    /// The time that the timers count from.
    epoch: Instant,
    jobs: BlockQueue<Job>,
    /// Begun and not watched yet, oldest first. Most are acknowledged by the time
    /// a burst of closes is through, and then one look is cheaper than a watch.
    fresh: VecDeque<(Key, Nanos)>,
    draining: Option<Draining>,
    /// Subscribed with the first close that asks for it.
    notices: Option<DestroyNotices>,
}

/// Since the loop's epoch.
type Nanos = u64;

impl<R: Readiness> EventLoop<R> {
    pub(super) fn new(shared: Arc<Shared>, mut readiness: R) -> io::Result<Self> {
        readiness.add_readable(shared.inbox.waker.borrowed(), WAKER)?;
        Ok(Self {
            shared,
            readiness,
            entries: Slab::new(),
            timers: TimerWheel::new(),
            epoch: Instant::now(),
            jobs: BlockQueue::new(),
            fresh: VecDeque::new(),
            draining: None,
            notices: None,
        })
    }

    /// Runs until no further jobs can come and none is in flight. Whatever ends it
    /// earlier, a panic included, is delivered to everybody who awaits a report.
    pub(super) fn run(mut self) {
        let error = match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(payload) => {
                contain(|| drop(payload));
                io::Error::other("the thread that closes connections panicked")
            }
        };
        self.abandon(&error);
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        let mut open = true;
        while open || !self.jobs.is_empty() || !self.is_idle() {
            let time = self.time_left();
            // It does not fail on descriptors of ours; if ever, every ending goes on
            // where it can.
            self.readiness.wait(&mut events, time)?;
            let mut woken = false;
            for event in &events {
                match event.token() {
                    WAKER => woken = true,
                    NOTICES => self.read_notices(),
                    key => self.step(key, event.look()),
                }
                if event.spent() {
                    self.watch_anew(event.token())?;
                }
            }
            if woken {
                open = self.shared.inbox.take(&mut self.jobs);
            }
            for _ in 0..BATCH {
                let Some(job) = self.jobs.pop() else { break };
                self.admit(job);
            }
            self.settle();
            self.expire();
            self.limit_held();
            self.go_on_draining();
        }
        Ok(())
    }

    fn admit(&mut self, job: Job) {
        match job {
            Job::Begin(begin) if begin.policy.is_by_receipt() => self.leave_to_kernel(begin),
            Job::Begin(begin) => self.begin(begin),
            Job::Adopt(driver, sink) => self.adopt(driver, sink),
            Job::Aborted(aborted) => aborted.deliver(&self.shared),
        }
    }

    fn adopt(&mut self, driver: Driver, sink: Option<Sink>) {
        let mut entry = Entry::new(driver, sink);
        // It came with its report, or its caller has delivered it.
        entry.reported = entry.driver.is_holding();
        self.insert(entry);
    }

    fn begin(&mut self, begin: Begin) {
        let Begin {
            socket,
            policy,
            began,
            sink,
        } = begin;
        let prepared = match Prepared::inspect(socket, &policy, began) {
            Ok(prepared) => prepared.map(Submitted::into_closing),
            Err((no_look, socket)) => {
                let error = CloseError::not_begun(no_look, socket.into_untouched());
                return self.refuse(sink, error);
            }
        };
        let connection = self.connection_for_drain(&prepared);
        let (driver, Progress { report, over }) = prepared.start_unseen();
        let mut entry = Entry::new(driver, Some(sink));
        if let Some(report) = report {
            entry.report(&report, connection, &self.shared);
        }
        if over {
            entry.close();
            self.shared.inbox.done();
            self.settle_account(report.is_some());
            return;
        }
        self.settle_account(report.is_some());
        let key = self.insert(entry);
        if let (Some(connection), Some(draining)) = (connection, &mut self.draining) {
            draining.connections.insert(key, connection);
        }
    }

    /// Gives a socket back that cannot be closed as a connection.
    fn refuse(&self, sink: Sink, error: CloseError) {
        // What is no connection is not counted as one.
        if error.refusal().is_none() {
            self.shared.account.note_unseen();
        }
        contain(|| drop(sink(Err(error))));
        self.shared.inbox.done();
        self.shared.account.settle();
    }

    /// Leaves a connection to the kernel where its destroy notice will come here, and
    /// holds it where not.
    fn leave_to_kernel(&mut self, begin: Begin) {
        if self.notices.is_none() {
            self.notices = self.subscribe().ok();
        }
        let Some(notices) = &mut self.notices else {
            return self.begin(begin);
        };
        let connection = hook::connection(begin.socket.borrowed());
        match driver::leave_to_kernel(begin.socket.borrowed(), notices.namespace()) {
            Some((cookie, left)) => {
                let Begin { began, sink, .. } = begin;
                notices.await_notice(cookie, left, began, connection, sink);
            }
            None => self.begin(begin),
        }
    }

    fn subscribe(&mut self) -> io::Result<DestroyNotices> {
        let notices = DestroyNotices::subscribe()?;
        self.readiness.add_readable(notices.borrowed(), NOTICES)?;
        Ok(notices)
    }

    fn read_notices(&mut self) {
        if let Some(notices) = &mut self.notices {
            let shared = &self.shared;
            notices.read(|finished| report_notice(finished, shared));
        }
    }

    fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.notices.as_ref().is_none_or(DestroyNotices::is_empty)
    }

    fn insert(&mut self, entry: Entry) -> Key {
        let key = self.entries.insert(entry);
        self.schedule(key);
        let now = self.since_epoch(Instant::now());
        self.fresh.push_back((key, now));
        key
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
        let Some(entry) = self.entries.get_mut(key).filter(|e| !e.watched) else {
            return;
        };
        // What holds already comes as the first event.
        match self.readiness.add(entry.driver.socket(), key) {
            Ok(()) => entry.watched = true,
            // No memory, or too many watches. It must not be lost: another look,
            // and another try, a little later.
            Err(_) => self.fresh.push_back((key, now)),
        }
    }

    fn step(&mut self, key: Key, how: Look) {
        self.begin_draining();
        // An event of an ending that an earlier one of the same batch finished.
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let Progress { report, over } = entry.driver.step(how);
        if let Some(report) = report {
            let draining = self.draining.as_mut();
            let connection = draining.and_then(|draining| draining.connections.remove(&key));
            entry.report(&report, connection, &self.shared);
        }
        if over {
            self.remove(key);
        } else {
            self.schedule(key);
        }
        self.settle_account(report.is_some());
    }

    /// One connection fewer is awaited, if it is reported. That comes after
    /// [`Inbox::done`](super::inbox::Inbox::done): whoever a report wakes finds in flight
    /// only what is held.
    fn settle_account(&self, reported: bool) {
        if reported {
            self.shared.account.settle();
        }
    }

    fn remove(&mut self, key: Key) {
        self.timers.set(place(key), None);
        let Some(mut entry) = self.entries.remove(key) else {
            return;
        };
        if entry.watched {
            self.readiness.forget(key);
        }
        let lost = !entry.reported;
        if lost {
            // No ending ends like that; whoever waited would wait for ever.
            let error = io::Error::other("it ended without a report");
            entry.fail(CloseError::lost_sight(error), &self.shared);
        }
        entry.close();
        self.shared.inbox.done();
        self.settle_account(lost);
    }

    fn watch_anew(&mut self, token: u64) -> io::Result<()> {
        if token == WAKER {
            let waker = self.shared.inbox.waker.borrowed();
            return self.readiness.add_readable(waker, WAKER);
        }
        if let (NOTICES, Some(notices)) = (token, &self.notices) {
            return self.readiness.add_readable(notices.borrowed(), NOTICES);
        }
        match self.entries.get_mut(token) {
            Some(entry) => self.readiness.add(entry.driver.socket(), token),
            None => Ok(()),
        }
    }

    fn schedule(&mut self, key: Key) {
        let due = self
            .entries
            .get_mut(key)
            .and_then(|entry| entry.driver.due());
        let due = due.map(|due| self.since_epoch(due));
        self.timers.set(place(key), due);
    }

    /// Closes connections that are held for late input where their descriptors are
    /// needed, or would be soon: a part at once, quiet peers' first.
    fn limit_held(&mut self) {
        let needed = self.shared.give_up.swap(false, Ordering::AcqRel);
        let held = self.shared.held();
        if held == 0 || (!needed && held <= held_limit()) {
            return;
        }
        let mut holding: Vec<(bool, Key)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.reported)
            .map(|(key, entry)| (!entry.driver.is_quiet(), key))
            .collect();
        holding.sort_unstable_by_key(|&(sending, _)| sending);
        let part = holding.len().div_ceil(4);
        for (_, key) in holding.into_iter().take(part) {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.driver.release();
                self.remove(key);
            }
        }
    }

    fn expire(&mut self) {
        let now = self.since_epoch(Instant::now());
        while let Some(place) = self.timers.pop(now) {
            if let Some(key) = self.entries.key(place) {
                self.step(key, Look::Full);
            }
        }
        if let Some(notices) = &mut self.notices {
            let shared = &self.shared;
            notices.expire(Instant::now(), |finished| report_notice(finished, shared));
        }
    }

    fn time_left(&mut self) -> Option<Duration> {
        let tick = self
            .timers
            .next_tick()
            .map(|tick| self.epoch + Duration::from_nanos(tick));
        if !self.jobs.is_empty() {
            return Some(Duration::ZERO);
        }
        let notice = self.notices.as_mut().and_then(DestroyNotices::next_due);
        // Past it nothing is left to be cut short.
        let drain = self.draining.as_ref().map(|draining| draining.until);
        let drain = drain.filter(|_| self.shared.account.unreported() > 0);
        let now = Instant::now();
        let again = (!self.fresh.is_empty()).then(|| now + AGAIN);
        let next = tick
            .into_iter()
            .chain(drain)
            .chain(again)
            .chain(notice)
            .min()?;
        Some(next.saturating_duration_since(now))
    }

    fn since_epoch(&self, time: Instant) -> Nanos {
        let since = time.saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Leaves every ending to the kernel and reports that. Sockets whose close did not
    /// begin go back untouched.
    fn abandon(mut self, error: &io::Error) {
        self.shared.account.fail();
        self.shared.inbox.no_more();
        self.shared.inbox.take(&mut self.jobs);
        while let Some(job) = self.jobs.pop() {
            match job {
                Job::Begin(Begin { socket, sink, .. }) => {
                    let socket = socket.into_untouched();
                    self.refuse(sink, CloseError::resources(again(error), socket));
                }
                Job::Aborted(aborted) => aborted.deliver(&self.shared),
                Job::Adopt(driver, sink) => {
                    self.entries.insert(Entry::new(driver, sink));
                }
            }
        }
        for mut entry in self.entries.drain() {
            entry.reported |= entry.driver.is_holding();
            entry.driver.release();
            let lost = !entry.reported;
            if lost {
                entry.fail(CloseError::lost_sight(again(error)), &self.shared);
            }
            drop(entry);
            self.shared.inbox.done();
            if lost {
                self.shared.account.settle();
            }
        }
        if let Some(mut notices) = self.notices.take() {
            notices.give_up(|finished| report_notice(finished, &self.shared));
        }
    }
}

/// Returns how many may be held: half of what the process may have open.
fn held_limit() -> usize {
    descriptor_limit().map_or(usize::MAX, |limit| limit / 2)
}

fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(raw) => io::Error::from_raw_os_error(raw),
        None => error.kind().into(),
    }
}
