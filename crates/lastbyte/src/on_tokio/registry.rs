//! The roll of a listener's connections: who is still here, and what became of
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
use super::sweeper::Lobby;
use super::timer;
use crate::blocking::outcome;
use crate::closer::DrainReport;
use crate::connection::Connection;
use crate::contain::contain;
use crate::driver::Ready;
use crate::error::CloseError;
use crate::hook;
use crate::policy::Policy;
use crate::report::Report;
use crate::sums::Sums;
use crate::sys::{self, BorrowedSocket, NoLook, RawSocket, Throttled};

/// What is done with each result.
pub(super) type Hook = Box<dyn Fn(&Connection, &Result<Report, CloseError>) + Send + Sync>;

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    /// Accepts what has connected already, and then no more.
    LastCall,
    /// The server is told to stop.
    Draining,
    /// The listening socket is closed.
    Closed,
    /// The deadline is near: nothing new is transmitted, so that what was can be
    /// acknowledged.
    HeldBack,
    /// The deadline is here: everything ends, as soon as it is settled.
    Over,
}

/// Longer than a delayed acknowledgement, which on Linux takes 40 ms.
pub(super) const ONE_ACK: Duration = Duration::from_millis(50);

/// How long a listener that accepts is given to let in who has connected already,
/// before the server is told to stop.
pub(super) const LETTING_IN: Duration = Duration::from_millis(50);

/// How long a connection may take to settle: one of the first ten segments may
/// follow another.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// Since when somebody waits for a connection to settle.
#[derive(Clone, Copy, Default)]
pub(super) struct Patience(Option<Instant>);

impl Patience {
    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        now - *self.0.get_or_insert(now) >= PATIENCE
    }
}

pub(super) struct Roll {
    /// The listener's protocol, and so its connections'.
    tcp: bool,
    hook: OnceLock<Hook>,
    stage: AtomicU8,
    /// The same, for those who wait for one.
    stages: watch::Sender<Stage>,
    book: Mutex<Book>,
    empty: Notify,
    lobby: Arc<Lobby>,
    held: Mutex<Held>,
    /// Somebody is struck off, whose descriptor is free then.
    freed: Notify,
    listening: Mutex<Listening>,
    /// For how long transmission is held back, in milliseconds.
    held_back: AtomicU64,
}

/// The listening socket, as far as a shutdown needs it.
#[derive(Default)]
struct Listening {
    /// Whoever owns the descriptor takes it from here before closing it.
    fd: Option<RawSocket>,
    /// Somebody waits for a connection.
    accepting: bool,
}

struct Book {
    next: u64,
    open: HashMap<u64, Arc<Seat>>,
    /// Nobody new will come.
    listener_closed: bool,
    /// Of all that ended since the beginning.
    all: Sums,
    /// Of those that ended since the shutdown began.
    drained: DrainReport,
    /// Shutdowns that hold transmission back.
    holding_back: usize,
}

/// A connection's place on the roll.
pub(super) struct Seat {
    pub(super) id: u64,
    connection: Connection,
    state: Mutex<State>,
}

enum State {
    /// In the program's hands. Whoever owns the descriptor leaves this state,
    /// under the lock, before closing it.
    Open {
        fd: RawSocket,
        half_closed: bool,
        patience: Patience,
        /// The pacing from before transmission was held back.
        throttled: Option<Throttled>,
    },
    /// Reset at the deadline, still in the program's hands.
    Cut,
    /// Its ending is under way, and this wakes it.
    Ending(Option<Waker>),
    /// The background closer has it.
    Background,
}

/// A shutdown near its deadline, which holds transmission back. Dropped before it is
/// through, as the last one, it lets everything go on.
pub(super) struct HoldingBack<'a>(&'a Roll);

impl Drop for HoldingBack<'_> {
    fn drop(&mut self) {
        let last = {
            let mut book = self.0.book();
            book.holding_back -= 1;
            book.holding_back == 0 && !book.open.is_empty()
        };
        if last {
            self.0.let_go_on();
        }
    }
}

/// While somebody waits for a connection.
pub(super) struct Accepting<'a>(&'a Roll);

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        self.0.listening().accepting = false;
    }
}

/// A connection on the roll. Dropped, it is struck off.
pub(super) struct Entry {
    id: u64,
    seat: Arc<Seat>,
    roll: Arc<Roll>,
}

/// The program's right to use the descriptor of a connection; the shutdown waits
/// for it.
pub(super) struct Turn<'a>(MutexGuard<'a, State>);

impl Roll {
    pub(super) fn new(tcp: bool) -> Self {
        Self {
            tcp,
            hook: OnceLock::new(),
            stage: AtomicU8::new(Stage::Serving as u8),
            stages: watch::Sender::new(Stage::Serving),
            book: Mutex::new(Book {
                next: 0,
                open: HashMap::new(),
                listener_closed: false,
                all: Sums::default(),
                drained: DrainReport::default(),
                holding_back: 0,
            }),
            empty: Notify::new(),
            lobby: Arc::default(),
            held: Mutex::default(),
            freed: Notify::new(),
            listening: Mutex::default(),
            held_back: AtomicU64::new(0),
        }
    }

    /// Whether there was none yet.
    pub(super) fn set_hook(&self, hook: Hook) -> bool {
        self.hook.set(hook).is_ok()
    }

    pub(super) fn enter(self: &Arc<Self>, fd: RawSocket, connection: Connection) -> Entry {
        let mut book = self.book();
        let id = book.next;
        book.next += 1;
        let seat = Arc::new(Seat {
            id,
            connection,
            state: Mutex::new(State::Open {
                fd,
                half_closed: false,
                patience: Patience::default(),
                throttled: None,
            }),
        });
        book.open.insert(id, Arc::clone(&seat));
        drop(book);
        Entry {
            id,
            seat,
            roll: Arc::clone(self),
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
    pub(super) fn last_call(&self) {
        self.advance(Stage::LastCall);
        if self.book().listener_closed {
            self.advance(Stage::Closed);
        } else if !self.lets_in() {
            self.advance(Stage::Draining);
        }
    }

    /// The server is told to stop, whether or not the listener is closed.
    pub(super) fn drain(&self) {
        self.advance(Stage::Draining);
    }

    pub(super) fn listens(&self, fd: RawSocket) {
        self.listening().fd = Some(fd);
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
            listening.fd.is_some_and(|fd| {
                // SAFETY: see `Listening::fd`; the lock is held.
                let listener = unsafe { BorrowedSocket::borrow_raw(fd) };
                sys::backlog(listener) != Some(0)
            })
        };
        listening.accepting || waiting()
    }

    /// The listening socket is about to be closed.
    pub(super) fn listener_closes(&self) {
        self.listening().fd = None;
    }

    pub(super) fn listener_closed(&self) {
        self.book().listener_closed = true;
        if self.is_at(Stage::LastCall) {
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
        self.book().open.len()
    }

    pub(super) fn sums(&self) -> Sums {
        self.book().all
    }

    /// Of those that ended since the shutdown began.
    pub(super) fn drained(&self) -> DrainReport {
        self.book().drained.clone()
    }

    /// Waits until nobody is on the roll and nobody new can come.
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
    pub(super) async fn hold_back(&self, last: Duration) -> HoldingBack<'_> {
        self.book().holding_back += 1;
        let hold = u64::try_from(3 * last.as_millis()).unwrap_or(u64::MAX);
        let hold = hold.max(1000);
        self.held_back.fetch_max(hold, Ordering::AcqRel);
        let holding_back = HoldingBack(self);
        self.advance(Stage::HeldBack);
        self.each(|seat, _| {
            if let State::Open { fd, throttled, .. } = &mut *seat.lock() {
                // SAFETY: see `State::Open`; the lock is held.
                let socket = unsafe { BorrowedSocket::borrow_raw(*fd) };
                if throttled.is_none() {
                    *throttled = sys::throttle(socket, self.held_back());
                }
            }
        })
        .await;
        holding_back
    }

    fn held_back(&self) -> Duration {
        Duration::from_millis(self.held_back.load(Ordering::Acquire))
    }

    /// A shutdown was given up: the connections go on as before it held them back.
    fn let_go_on(&self) {
        self.stages.send_modify(|now| {
            *now = Stage::Closed.min(*now);
            self.stage.store(*now as u8, Ordering::Release);
        });
        for seat in self.seats() {
            seat.lock().unthrottle();
        }
        self.wake_endings();
    }

    /// Whether some are on their way out.
    pub(super) fn has_endings(&self) -> bool {
        let is_ending = |seat: &Arc<Seat>| matches!(*seat.lock(), State::Ending(_));
        self.seats().iter().any(is_ending)
    }

    /// Everybody on the roll.
    fn seats(&self) -> Vec<Arc<Seat>> {
        self.book().open.values().map(Arc::clone).collect()
    }

    /// A connection is held for late input.
    fn hold(&self, id: u64, seat: &Arc<Seat>, quiet: bool) -> Hold {
        let (hold, given_up) = self.held().hold(id, seat, quiet);
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
        for seat in given_up {
            seat.wake();
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
    pub(super) async fn cut(&self) {
        const PAUSE: Duration = Duration::from_millis(2);
        self.advance(Stage::Over);
        loop {
            self.each(|seat, id| self.cut_one(seat, id)).await;
            if timer::within(PAUSE, self.emptied()).await {
                return;
            }
            // To try again.
            self.wake_endings();
        }
    }

    /// Everybody on the roll, without keeping this thread's other tasks from
    /// their deadlines.
    async fn each(&self, mut see_to: impl FnMut(&Seat, u64)) {
        let seats: Vec<_> = self
            .book()
            .open
            .iter()
            .map(|(&id, seat)| (id, Arc::clone(seat)))
            .collect();
        for some in seats.chunks(64) {
            for (id, seat) in some {
                see_to(seat, *id);
            }
            ::tokio::task::yield_now().await;
        }
    }

    fn cut_one(&self, seat: &Seat, id: u64) {
        let mut state = seat.lock();
        let State::Open {
            fd,
            half_closed,
            patience,
            ..
        } = &mut *state
        else {
            if matches!(*state, State::Background) {
                // Nothing here hastens it.
                *state = State::Cut;
                drop(state);
                let late = io::ErrorKind::TimedOut.into();
                self.tell(&seat.connection, &Err(CloseError::lost_sight(late)));
                self.strike_off(id);
            }
            return;
        };
        // SAFETY: see `State::Open`; the lock is held.
        let socket = unsafe { BorrowedSocket::borrow_raw(*fd) };
        if !sys::freeze_if_settled(socket) && !patience.is_over() {
            return;
        }
        let policy = if *half_closed {
            Policy::abort().and_sending_shut_down()
        } else {
            Policy::abort()
        };
        let result = match Ready::inspect(socket, &policy, Instant::now()) {
            Ok(ready) => outcome(ready.start().1.report.expect("an abort reports at once")),
            // A connection that was accepted is never refused.
            Err((NoLook::Refused(refusal), _)) => {
                Err(CloseError::lost_sight(refusal.errno().into()))
            }
            Err((NoLook::Failed(error), _)) => Err(CloseError::lost_sight(error)),
        };
        *state = State::Cut;
        drop(state);
        self.tell(&seat.connection, &result);
        self.strike_off(id);
    }

    /// What became of a connection.
    fn tell(&self, connection: &Connection, result: &Result<Report, CloseError>) {
        if let Some(hook) = self.hook.get() {
            contain(|| hook(connection, result));
        }
        hook::publish_unseen(Some(*connection), result);
        let report = match result {
            Ok(report) => Some(report),
            Err(error) => error.report(),
        };
        let draining = self.is_at(Stage::LastCall);
        let mut book = self.book();
        match report {
            Some(report) => book.all.add(report),
            None => book.all.add_unseen(),
        }
        if draining {
            match report {
                Some(report) => book.drained.add(connection, report),
                None => book.drained.sums.add_unseen(),
            }
        }
    }

    fn strike_off(&self, id: u64) {
        let mut book = self.book();
        book.open.remove(&id);
        let empty = book.open.is_empty();
        drop(book);
        self.held().remove(id);
        self.freed.notify_waiters();
        if empty {
            self.empty.notify_waiters();
        }
    }

    fn wake_endings(&self) {
        for seat in self.seats() {
            seat.wake();
        }
    }

    /// Nothing that runs under this lock can leave the book half written.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Roll {
    fn drop(&mut self) {
        self.lobby.close();
    }
}

impl Seat {
    /// Wakes the task of its ending.
    fn wake(&self) {
        let waker = match &mut *self.lock() {
            State::Ending(waker) => waker.take(),
            State::Open { .. } | State::Cut | State::Background => None,
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
        if let State::Open { fd, throttled, .. } = self {
            if let Some(before) = throttled.take() {
                // SAFETY: see `State::Open`; the lock is held.
                sys::unthrottle(unsafe { BorrowedSocket::borrow_raw(*fd) }, before);
            }
        }
    }
}

impl Entry {
    /// The right to use the descriptor, unless the deadline has passed.
    pub(super) fn turn(&self) -> io::Result<Turn<'_>> {
        let state = self.seat.lock();
        if matches!(*state, State::Cut) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "reset at the deadline of the listener's shutdown",
            ));
        }
        Ok(Turn(state))
    }

    /// The ending begins. False when it is behind us already.
    pub(super) fn begin_ending(&self) -> bool {
        let mut state = self.seat.lock();
        let begins = !matches!(*state, State::Cut);
        if begins {
            // The ending holds itself back.
            state.unthrottle();
            *state = State::Ending(None);
        }
        begins
    }

    /// The background closer has it from here on.
    pub(super) fn leave_to_background(&self) {
        let mut state = self.seat.lock();
        if matches!(*state, State::Ending(_)) {
            *state = State::Background;
        }
    }

    /// What the background closer made of it, unless a shutdown's deadline came first.
    pub(super) fn tell_from_background(&self, result: &Result<Report, CloseError>) {
        let in_time = matches!(*self.seat.lock(), State::Background);
        if in_time {
            self.tell(result);
        }
    }

    /// It is held for late input; whether it may be any longer.
    pub(super) fn hold(&self, quiet: bool) -> Hold {
        self.roll.hold(self.id, &self.seat, quiet)
    }

    /// Wakes the task when the listener's shutdown comes further.
    pub(super) fn wake_later(&self, cx: &mut Context<'_>) {
        if let State::Ending(waker) = &mut *self.seat.lock() {
            match waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
        }
    }

    /// Whether the listener's shutdown has come to `stage`, or further.
    pub(super) fn is_at(&self, stage: Stage) -> bool {
        self.roll.is_at(stage)
    }

    /// For how long transmission is held back.
    pub(super) fn held_back(&self) -> Duration {
        self.roll.held_back()
    }

    /// Whether its listener is known to be one of TCP.
    pub(super) fn is_tcp(&self) -> bool {
        self.roll.tcp
    }

    pub(super) fn lobby(&self) -> Arc<Lobby> {
        Arc::clone(&self.roll.lobby)
    }

    pub(super) fn tell(&self, result: &Result<Report, CloseError>) {
        self.roll.tell(&self.seat.connection, result);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.roll.strike_off(self.id);
    }
}

impl Turn<'_> {
    /// Remembers that the program has shut down its sending side.
    pub(super) fn note_half_closed(&mut self) {
        if let State::Open { half_closed, .. } = &mut *self.0 {
            *half_closed = true;
        }
    }
}
