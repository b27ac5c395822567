//! A listener's connections: which are still open, and what became of
//! the others.

mod held;
mod registration;
mod shutdown;
mod slot;
mod stage;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ::tokio::sync::{Notify, watch};

use crate::closer::DrainReport;
use crate::connection::Connection;
use crate::contain::contain;
use crate::error::CloseError;
use crate::hook;
use crate::report::Report;
use crate::sums::Sums;
use crate::sys::{self, HasSocket, Unowned};
use held::Held;
pub(super) use held::Hold;
pub(super) use registration::{Access, Registration};
use slot::Slot;
pub(super) use stage::{LAST_ACCEPTS_TIME, ONE_ACK, SETTLE_TIME, SettleTimer, Stage};

/// What is called with each result.
pub(super) type Hook = Box<dyn Fn(&Connection, &Result<Report, CloseError>) + Send + Sync>;

pub(super) struct Registry {
    /// The listener's protocol, and so its connections'.
    tcp: bool,
    hook: OnceLock<Hook>,
    stage: AtomicU8,
    /// The same, for those who wait for one.
    stages: watch::Sender<Stage>,
    records: Mutex<Records>,
    empty: Notify,
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

/// While somebody waits for a connection.
pub(super) struct Accepting<'a>(&'a Registry);

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        self.0.listening().accepting = false;
    }
}

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
            held: Mutex::default(),
            freed: Notify::new(),
            listening: Mutex::default(),
            throttle_time: AtomicU64::new(0),
        }
    }

    /// Sets the hook. Returns `false` if there was one already.
    pub(super) fn set_hook(&self, hook: Hook) -> bool {
        self.hook.set(hook).is_ok()
    }

    /// Adds a connection that was accepted just now.
    fn add(&self, socket: &impl HasSocket, connection: Connection) -> Arc<Slot> {
        let mut records = self.records();
        let slot = Arc::new(Slot::new(records.next, socket, connection));
        records.next += 1;
        records.open.insert(slot.id, Arc::clone(&slot));
        slot
    }

    /// Returns whether the shutdown has come to `stage`, or further.
    pub(super) fn is_at(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Acquire) >= stage as u8
    }

    /// The stages to come.
    pub(super) fn stages(&self) -> watch::Receiver<Stage> {
        self.stages.subscribe()
    }

    /// Begins a shutdown: the listener gives out what has connected already and closes.
    /// [`Handle::draining`](super::Handle::draining) is ready at once where nothing would be
    /// accepted: a server that waits for something else before it accepts would not close
    /// the listener.
    pub(super) fn begin_shutdown(&self) {
        self.advance(Stage::LastAccepts);
        if self.records().listener_closed {
            self.advance(Stage::Closed);
        } else if !self.lets_in() {
            self.advance(Stage::Draining);
        }
    }

    /// Makes the server stop, whether or not the listener is closed.
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

    /// Returns whether somebody accepts, or somebody waits to be accepted.
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

    /// Returns whether some are on their way out.
    pub(super) fn has_endings(&self) -> bool {
        self.slots().iter().any(|slot| slot.is_ending())
    }

    /// Every slot of the registry.
    fn slots(&self) -> Vec<Arc<Slot>> {
        self.records().open.values().map(Arc::clone).collect()
    }

    /// A connection is held for late input.
    fn hold(&self, slot: &Arc<Slot>, quiet: bool) -> Hold {
        let (hold, given_up) = self.held().hold(slot, quiet);
        if let Some(given_up) = given_up {
            given_up.wake();
        }
        hold
    }

    /// Gives up connections that are held for late input, and waits until a descriptor
    /// is free. Returns `false` if there are none.
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

    /// Adds what became of a connection to the sums, and calls the hooks.
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
