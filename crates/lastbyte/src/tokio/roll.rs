//! The roll of a listener's connections: who is still here, and what became of
//! the others.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use ::tokio::sync::{Notify, watch};

use super::lobby::Lobby;
use crate::blocking::outcome;
use crate::closer::Drained;
use crate::contain::contain;
use crate::error::CloseError;
use crate::hook;
use crate::live::Ready;
use crate::policy::Policy;
use crate::report::Report;
use crate::sums::Sums;
use crate::sys::{self, NoLook};

/// What is done with each result.
pub(super) type Hook = Box<dyn Fn(SocketAddr, &Result<Report, CloseError>) + Send + Sync>;

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    /// Accepts what has connected already, and then no more.
    LastCall,
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
}

struct Book {
    next: u64,
    open: HashMap<u64, Arc<Seat>>,
    /// Nobody new will come.
    listener_closed: bool,
    /// Of all that ended since the beginning.
    all: Sums,
    /// Of those that ended since the shutdown began.
    drained: Drained,
}

/// A connection's place on the roll.
struct Seat {
    peer: SocketAddr,
    state: Mutex<State>,
}

enum State {
    /// In the program's hands. Whoever owns the descriptor leaves this state,
    /// under the lock, before closing it.
    Open {
        fd: RawFd,
        half_closed: bool,
        patience: Patience,
    },
    /// Reset at the deadline, still in the program's hands.
    Cut,
    /// Its ending is under way, and this wakes it.
    Ending(Option<Waker>),
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
                drained: Drained::default(),
            }),
            empty: Notify::new(),
            lobby: Arc::default(),
        }
    }

    /// Whether there was none yet.
    pub(super) fn set_hook(&self, hook: Hook) -> bool {
        self.hook.set(hook).is_ok()
    }

    pub(super) fn enter(self: &Arc<Self>, fd: RawFd, peer: SocketAddr) -> Entry {
        let seat = Arc::new(Seat {
            peer,
            state: Mutex::new(State::Open {
                fd,
                half_closed: false,
                patience: Patience::default(),
            }),
        });
        let mut book = self.book();
        let id = book.next;
        book.next += 1;
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
    /// closes.
    pub(super) fn last_call(&self) {
        self.advance(Stage::LastCall);
        if self.book().listener_closed {
            self.advance(Stage::Closed);
        }
    }

    pub(super) fn listener_closed(&self) {
        self.book().listener_closed = true;
        if self.is_at(Stage::LastCall) {
            self.advance(Stage::Closed);
        }
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
    pub(super) fn drained(&self) -> Drained {
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
    pub(super) async fn hold_back(&self) {
        self.advance(Stage::HeldBack);
        self.each(|seat, _| {
            if let State::Open { fd, .. } = *seat.lock() {
                // SAFETY: see `State::Open`; the lock is held.
                sys::throttle(unsafe { BorrowedFd::borrow_raw(fd) });
            }
        })
        .await;
    }

    /// The deadline is here: resets what the program still has open, and has the
    /// endings under way finish. Waits for nobody, except a moment for
    /// acknowledgements of what is on its way.
    pub(super) async fn cut(&self) {
        const PAUSE: Duration = Duration::from_millis(2);
        self.advance(Stage::Over);
        loop {
            self.each(|seat, id| self.cut_one(seat, id)).await;
            if ::tokio::time::timeout(PAUSE, self.emptied()).await.is_ok() {
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
        } = &mut *state
        else {
            return;
        };
        // SAFETY: see `State::Open`; the lock is held.
        let socket = unsafe { BorrowedFd::borrow_raw(*fd) };
        if !sys::freeze_if_settled(socket) && !patience.is_over() {
            return;
        }
        let policy = if *half_closed {
            Policy::abort().half_closed()
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
        self.tell(seat.peer, &result);
        self.strike_off(id);
    }

    /// What became of a connection.
    fn tell(&self, peer: SocketAddr, result: &Result<Report, CloseError>) {
        if let Some(hook) = self.hook.get() {
            contain(|| hook(peer, result));
        }
        hook::publish_unseen(Some(peer), result);
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
                Some(report) => book.drained.add(peer, report),
                None => book.drained.sums.add_unseen(),
            }
        }
    }

    fn strike_off(&self, id: u64) {
        let mut book = self.book();
        book.open.remove(&id);
        if book.open.is_empty() {
            drop(book);
            self.empty.notify_waiters();
        }
    }

    fn wake_endings(&self) {
        let seats: Vec<Arc<Seat>> = self.book().open.values().map(Arc::clone).collect();
        for seat in seats {
            let waker = match &mut *seat.lock() {
                State::Ending(waker) => waker.take(),
                State::Open { .. } | State::Cut => None,
            };
            if let Some(waker) = waker {
                waker.wake();
            }
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
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
            *state = State::Ending(None);
        }
        begins
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

    /// Whether its listener is known to be one of TCP.
    pub(super) fn is_tcp(&self) -> bool {
        self.roll.tcp
    }

    pub(super) fn lobby(&self) -> Arc<Lobby> {
        Arc::clone(&self.roll.lobby)
    }

    pub(super) fn tell(&self, result: &Result<Report, CloseError>) {
        self.roll.tell(self.seat.peer, result);
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
