//! One connection in the registry.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::stage::SettleTimer;
use crate::connection::Connection;
use crate::sys::{self, HasSocket, Throttled, Unowned};

/// A connection of a listener, and how far it has come.
pub(super) struct Slot {
    pub(super) id: u64,
    pub(super) connection: Connection,
    state: Mutex<State>,
}

pub(super) enum State {
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

impl Slot {
    pub(super) fn new(id: u64, socket: &impl HasSocket, connection: Connection) -> Self {
        Self {
            id,
            connection,
            state: Mutex::new(State::Open {
                socket: Unowned::of(socket),
                half_closed: false,
                settle_timer: SettleTimer::default(),
                throttled: None,
            }),
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        matches!(*self.lock(), State::Ending(_))
    }

    /// Wakes the task of its ending.
    pub(super) fn wake(&self) {
        let waker = match &mut *self.lock() {
            State::Ending(waker) => waker.take(),
            State::Open { .. } | State::Aborted | State::Background => None,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Holds back for `time` what was not transmitted yet. See [`sys::throttle`].
    pub(super) fn throttle(&mut self, time: Duration) {
        if let State::Open {
            socket,
            throttled: throttled @ None,
            ..
        } = self
        {
            *throttled = sys::throttle(socket.borrowed(), time);
        }
    }

    /// Undoes what holds transmission back.
    pub(super) fn unthrottle(&mut self) {
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
