//! A listener's connections: which are still open, and what became of
//! the others.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use ::tokio::sync::{Notify, watch};

use super::held::Held;
pub(super) use super::held::Hold;
use super::sweeper::Sweeper;
use super::timer;
use crate::closer::DrainReport;
use crate::connection::Connection;
use crate::contain::contain;
use crate::driver::Prepared;
use crate::error::CloseError;
use crate::hook;
use crate::policy::Policy;
use crate::report::Report;
use crate::sums::Sums;
use crate::sys::{self, HasSocket, NoLook, Throttled, Unowned};

/// What is done with each result.
pub(super) type Hook = Box<dyn Fn(&Connection, &Result<Report, CloseError>) + Send + Sync>;

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    /// Accepts what has connected already, and then no more.
    LastAccepts,
    /// The server is told to stop.
    Draining,
    /// The listening socket is closed.
    Closed,
    /// The deadline is near: nothing new is transmitted, so that what was can be
    /// acknowledged.
    Throttled,
    /// The deadline is here: everything ends, as soon as it is settled.
    Deadline,
}

/// Longer than a delayed acknowledgement, which on Linux takes 40 ms.
pub(super) const ONE_ACK: Duration = Duration::from_millis(50);

/// How long a listener that accepts is given to let in who has connected already,
/// before the server is told to stop.
pub(super) const LAST_ACCEPTS_TIME: Duration = Duration::from_millis(50);

/// How long a connection may take to settle: one of the first ten segments may
/// follow another.
pub(super) const SETTLE_TIME: Duration = Duration::from_millis(100);

/// Since when somebody waits for a connection to settle.
#[derive(Clone, Copy, Default)]
pub(super) struct SettleTimer(Option<Instant>);

impl SettleTimer {
    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        now - *self.0.get_or_insert(now) >= SETTLE_TIME
    }
}

pub(super) struct Registry {
    /// The listener's protocol, and so its connections'.
    tcp: bool,
    hook: OnceLock<Hook>,
    stage: AtomicU8,
    /// The same, for those who wait for one.
    stages: watch::Sender<Stage>,
    records: Mutex<Records>,
    empty: Notify,
    sweeper: Arc<Sweeper>,
    held: Mutex<Held>,
    /// A connection was removed, and its descriptor is free.
    freed: Notify,
    listening: Mutex<Listening>,
    /// For how long transmission is held back, in milliseconds.
    throttle_time: AtomicU64,
}

/// The listening socket, as far as a shutdown needs it.
#[derive(Default)]
struct Listening {
    /// The listener takes it from here before it closes the socket.
    socket: Option<Unowned>,
    /// Somebody waits for a connection.
    accepting: bool,
}

struct Records {
    next: u64,
    open: HashMap<u64, Arc<Slot>>,
    /// Nobody new will come.
    listener_closed: bool,
    /// Of all that ended since the beginning.
    all: Sums,
    /// Of those that ended since the shutdown began.
    drained: DrainReport,
    /// Shutdowns that hold transmission back.
    throttling: usize,
}

/// A connection's place in the registry.
pub(super) struct Slot {
    pub(super) id: u64,
    connection: Connection,
    state: Mutex<State>,
}

enum State {
    /// In the program's hands. Whoever owns the descriptor leaves this state,
    /// under the lock, before closing it.
    Open {
        socket: Unowned,
        half_closed: bool,
        settle_timer: SettleTimer,
        /// The pacing from before transmission was held back.
        throttled: Option<Throttled>,
    },
    /// Reset at the deadline, still in the program's hands.
    Aborted,
    /// Its ending is under way, and this wakes it.
    Ending(Option<Waker>),
    /// The background closer has it.
    Background,
}

/// A shutdown near its deadline, which holds transmission back. Dropped before it is
/// through, as the last one, it lets everything go on.
pub(super) struct Throttling<'a>(&'a Registry);

impl Drop for Throttling<'_> {
    fn drop(&mut self) {
        let last = {
            let mut records = self.0.records();
            records.throttling -= 1;
            records.throttling == 0 && !records.open.is_empty()
        };
        if last {
            self.0.unthrottle_all();
        }
    }
}

/// While somebody waits for a connection.
pub(super) struct Accepting<'a>(&'a Registry);

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        self.0.listening().accepting = false;
    }
}

/// A connection in the registry. Dropping it removes the connection.
pub(super) struct Registration {
    id: u64,
    slot: Arc<Slot>,
    registry: Arc<Registry>,
}

/// The program's right to use the descriptor of a connection; the shutdown waits
/// for it.
pub(super) struct Access<'a>(MutexGuard<'a, State>);

impl Registry {
    pub(super) fn new(tcp: bool) -> Self {
        Self {
            tcp,
            hook: OnceLock::new(),
            stage: AtomicU8::new(Stage::Serving as u8),
            stages: watch::Sender::new(Stage::Serving),
            records: Mutex::new(Records {
                next: 0,
                open: HashMap::new(),
                listener_closed: false,
                all: Sums::default(),
                drained: DrainReport::default(),
                throttling: 0,
            }),
            empty: Notify::new(),
            sweeper: Arc::default(),
            held: Mutex::default(),
            freed: Notify::new(),
            listening: Mutex::default(),
            throttle_time: AtomicU64::new(0),
        }
    }

    /// Whether there was none yet.
    pub(super) fn set_hook(&self, hook: Hook) -> bool {
        self.hook.set(hook).is_ok()
    }

    pub(super) fn enter(
        self: &Arc<Self>,
        socket: &impl HasSocket,
        connection: Connection,
    ) -> Registration {
        let mut records = self.records();
        let id = records.next;
        records.next += 1;
        let slot = Arc::new(Slot {
            id,
            connection,
            state: Mutex::new(State::Open {
                socket: Unowned::of(socket),
                half_closed: false,
                settle_timer: SettleTimer::default(),
                throttled: None,
            }),
        });
        records.open.insert(id, Arc::clone(&slot));
        drop(records);
        Registration {
            id,
            slot,
            registry: Arc::clone(self),
        }
    }

    /// Whether it has come to `stage`, or further.
    pub(super) fn is_at(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Acquire) >= stage as u8
    }

    /// The stages to come.
    pub(super) fn stages(&self) -> watch::Receiver<Stage> {
        self.stages.subscribe()
    }

    /// A shutdown begins: the listener gives out who has connected already and
    /// closes. The server is told to stop at once where nobody would be let in: a server
    /// that waits for something else before it accepts would not close the listener.
    pub(super) fn begin_shutdown(&self) {
        self.advance(Stage::LastAccepts);
        if self.records().listener_closed {
            self.advance(Stage::Closed);
        } else if !self.lets_in() {
            self.advance(Stage::Draining);
        }
    }

    /// The server is told to stop, whether or not the listener is closed.
    pub(super) fn drain(&self) {
        self.advance(Stage::Draining);
    }

    pub(super) fn listens(&self, socket: &impl HasSocket) {
        self.listening().socket = Some(Unowned::of(socket));
    }

    /// Somebody waits for a connection from here on.
    pub(super) fn accepting(&self) -> Accepting<'_> {
        self.set_accepting(true);
        Accepting(self)
    }

    /// Whether somebody waits for a connection.
    pub(super) fn set_accepting(&self, accepting: bool) {
        self.listening().accepting = accepting;
    }

    /// Whether somebody accepts, or somebody waits to be accepted.
    fn lets_in(&self) -> bool {
        let listening = self.listening();
        let waiting = || {
            let socket = listening.socket.as_ref();
            socket.is_some_and(|socket| sys::backlog(socket.borrowed()) != Some(0))
        };
        listening.accepting || waiting()
    }

    /// The listening socket is about to be closed.
    pub(super) fn listener_closes(&self) {
        self.listening().socket = None;
    }

    pub(super) fn listener_closed(&self) {
        self.records().listener_closed = true;
        if self.is_at(Stage::LastAccepts) {
            self.advance(Stage::Closed);
        }
    }

    fn listening(&self) -> MutexGuard<'_, Listening> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on to `stage`, never back.
    fn advance(&self, stage: Stage) {
        let advanced = self.stages.send_if_modified(|now| {
            let advance = *now < stage;
            *now = stage.max(*now);
            self.stage.store(*now as u8, Ordering::Release);
            advance
        });
        if advanced {
            self.empty.notify_waiters();
            self.wake_endings();
        }
    }

    pub(super) fn open(&self) -> usize {
        self.records().open.len()
    }

    pub(super) fn sums(&self) -> Sums {
        self.records().all
    }

    /// Of those that ended since the shutdown began.
    pub(super) fn drained(&self) -> DrainReport {
        self.records().drained.clone()
    }

    /// Waits until no connection is registered and none can come any more.
    pub(super) async fn emptied(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.empty.notified());
            // Listening before looking.
            emptied.as_mut().enable();
            if self.is_at(Stage::Closed) && self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// The deadline is near: what is transmitted now might not be acknowledged by
    /// then, and the peer have it all the same.
    ///
    /// The deadline is `last` away. What a connection is held back for is three times
    /// that, and a second at least: the kernel takes up to half of it off for one that
    /// was idle before, and a busy machine may come late.
    pub(super) async fn throttle(&self, last: Duration) -> Throttling<'_> {
        self.records().throttling += 1;
        let hold = u64::try_from(3 * last.as_millis()).unwrap_or(u64::MAX);
        let hold = hold.max(1000);
        self.throttle_time.fetch_max(hold, Ordering::AcqRel);
        let throttling = Throttling(self);
        self.advance(Stage::Throttled);
        self.each(|slot, _| {
            if let State::Open {
                socket, throttled, ..
            } = &mut *slot.lock()
            {
                if throttled.is_none() {
                    *throttled = sys::throttle(socket.borrowed(), self.throttle_time());
                }
            }
        })
        .await;
        throttling
    }

    fn throttle_time(&self) -> Duration {
        Duration::from_millis(self.throttle_time.load(Ordering::Acquire))
    }

    /// A shutdown was given up: the connections go on as before it held them back.
    fn unthrottle_all(&self) {
        self.stages.send_modify(|now| {
            *now = Stage::Closed.min(*now);
            self.stage.store(*now as u8, Ordering::Release);
        });
        for slot in self.slots() {
            slot.lock().unthrottle();
        }
        self.wake_endings();
    }

    /// Whether some are on their way out.
    pub(super) fn has_endings(&self) -> bool {
        let is_ending = |slot: &Arc<Slot>| matches!(*slot.lock(), State::Ending(_));
        self.slots().iter().any(is_ending)
    }

    /// Every slot of the registry.
    fn slots(&self) -> Vec<Arc<Slot>> {
        self.records().open.values().map(Arc::clone).collect()
    }

    /// A connection is held for late input.
    fn hold(&self, id: u64, slot: &Arc<Slot>, quiet: bool) -> Hold {
        let (hold, given_up) = self.held().hold(id, slot, quiet);
        if let Some(given_up) = given_up {
            given_up.wake();
        }
        hold
    }

    /// Gives up connections that are held for late input, and waits until a descriptor
    /// is free. False where there are none.
    pub(super) async fn make_room(&self) -> bool {
        let mut freed = std::pin::pin!(self.freed.notified());
        // Listening before looking.
        freed.as_mut().enable();
        let given_up = self.held().make_room();
        for slot in given_up {
            slot.wake();
        }
        if !self.held().are_leaving() {
            return false;
        }
        freed.await;
        true
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deadline is here: resets what the program still has open, and has the
    /// endings under way finish. Waits for nobody, except a moment for
    /// acknowledgements of what is on its way.
    pub(super) async fn abort_open(&self) {
        const PAUSE: Duration = Duration::from_millis(2);
        self.advance(Stage::Deadline);
        loop {
            self.each(|slot, id| self.abort_one(slot, id)).await;
            if timer::within(PAUSE, self.emptied()).await {
                return;
            }
            // To try again.
            self.wake_endings();
        }
    }

    /// Calls `act` for every slot, without keeping this thread's other tasks from
    /// their deadlines.
    async fn each(&self, mut act: impl FnMut(&Slot, u64)) {
        let slots: Vec<_> = self
            .records()
            .open
            .iter()
            .map(|(&id, slot)| (id, Arc::clone(slot)))
            .collect();
        for some in slots.chunks(64) {
            for (id, slot) in some {
                act(slot, *id);
            }
            ::tokio::task::yield_now().await;
        }
    }

    fn abort_one(&self, slot: &Slot, id: u64) {
        let mut state = slot.lock();
        let State::Open {
            socket,
            half_closed,
            settle_timer,
            ..
        } = &mut *state
        else {
            if matches!(*state, State::Background) {
                // Nothing here hastens it.
                *state = State::Aborted;
                drop(state);
                let late = io::ErrorKind::TimedOut.into();
                self.record(&slot.connection, &Err(CloseError::lost_sight(late)));
                self.remove(id);
            }
            return;
        };
        let socket = socket.borrowed();
        if !sys::freeze_if_settled(socket) && !settle_timer.is_over() {
            return;
        }
        let policy = if *half_closed {
            Policy::abort().and_sending_shut_down()
        } else {
            Policy::abort()
        };
        let result = match Prepared::inspect(socket, &policy, Instant::now()) {
            Ok(prepared) => prepared
                .start()
                .1
                .report
                .expect("an abort reports at once")
                .into_result(),
            // A connection that was accepted is never refused.
            Err((NoLook::Refused(refusal), _)) => {
                Err(CloseError::lost_sight(refusal.errno().into()))
            }
            Err((NoLook::Failed(error), _)) => Err(CloseError::lost_sight(error)),
        };
        *state = State::Aborted;
        drop(state);
        self.record(&slot.connection, &result);
        self.remove(id);
    }

    /// What became of a connection.
    fn record(&self, connection: &Connection, result: &Result<Report, CloseError>) {
        if let Some(hook) = self.hook.get() {
            contain(|| hook(connection, result));
        }
        hook::publish_unseen(Some(*connection), result);
        let report = match result {
            Ok(report) => Some(report),
            Err(error) => error.report(),
        };
        let draining = self.is_at(Stage::LastAccepts);
        let mut records = self.records();
        match report {
            Some(report) => records.all.add(report),
            None => records.all.add_unseen(),
        }
        if draining {
            match report {
                Some(report) => records.drained.add(connection, report),
                None => records.drained.sums.add_unseen(),
            }
        }
    }

    fn remove(&self, id: u64) {
        let mut records = self.records();
        records.open.remove(&id);
        let empty = records.open.is_empty();
        drop(records);
        self.held().remove(id);
        self.freed.notify_waiters();
        if empty {
            self.empty.notify_waiters();
        }
    }

    fn wake_endings(&self) {
        for slot in self.slots() {
            slot.wake();
        }
    }

    /// Nothing that runs under this lock can leave the records half written.
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.sweeper.close();
    }
}

impl Slot {
    /// Wakes the task of its ending.
    fn wake(&self) {
        let waker = match &mut *self.lock() {
            State::Ending(waker) => waker.take(),
            State::Open { .. } | State::Aborted | State::Background => None,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Undoes what holds transmission back.
    fn unthrottle(&mut self) {
        if let State::Open {
            socket, throttled, ..
        } = self
        {
            if let Some(before) = throttled.take() {
                sys::unthrottle(socket.borrowed(), before);
            }
        }
    }
}

impl Registration {
    /// The right to use the descriptor, unless the deadline has passed.
    pub(super) fn access(&self) -> io::Result<Access<'_>> {
        let state = self.slot.lock();
        if matches!(*state, State::Aborted) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "reset at the deadline of the listener's shutdown",
            ));
        }
        Ok(Access(state))
    }

    /// The ending begins. False when it is behind us already.
    pub(super) fn begin_ending(&self) -> bool {
        let mut state = self.slot.lock();
        let begins = !matches!(*state, State::Aborted);
        if begins {
            // The ending holds itself back.
            state.unthrottle();
            *state = State::Ending(None);
        }
        begins
    }

    /// The background closer has it from here on.
    pub(super) fn leave_to_background(&self) {
        let mut state = self.slot.lock();
        if matches!(*state, State::Ending(_)) {
            *state = State::Background;
        }
    }

    /// What the background closer made of it, unless a shutdown's deadline came first.
    pub(super) fn record_from_background(&self, result: &Result<Report, CloseError>) {
        let in_time = matches!(*self.slot.lock(), State::Background);
        if in_time {
            self.record(result);
        }
    }

    /// It is held for late input; whether it may be any longer.
    pub(super) fn hold(&self, quiet: bool) -> Hold {
        self.registry.hold(self.id, &self.slot, quiet)
    }

    /// Wakes the task when the listener's shutdown comes further.
    pub(super) fn wake_later(&self, cx: &mut Context<'_>) {
        if let State::Ending(waker) = &mut *self.slot.lock() {
            match waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
        }
    }

    /// Whether the listener's shutdown has come to `stage`, or further.
    pub(super) fn is_at(&self, stage: Stage) -> bool {
        self.registry.is_at(stage)
    }

    /// For how long transmission is held back.
    pub(super) fn throttle_time(&self) -> Duration {
        self.registry.throttle_time()
    }

    /// Whether its listener is known to be one of TCP.
    pub(super) fn is_tcp(&self) -> bool {
        self.registry.tcp
    }

    pub(super) fn sweeper(&self) -> Arc<Sweeper> {
        Arc::clone(&self.registry.sweeper)
    }

    pub(super) fn record(&self, result: &Result<Report, CloseError>) {
        self.registry.record(&self.slot.connection, result);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.remove(self.id);
    }
}

impl Access<'_> {
    /// Remembers that the program has shut down its sending side.
    pub(super) fn note_half_closed(&mut self) {
        if let State::Open { half_closed, .. } = &mut *self.0 {
            *half_closed = true;
        }
    }
}
