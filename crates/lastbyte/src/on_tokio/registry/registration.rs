//! A connection's hold on its slot.

use std::io;
use std::sync::{Arc, MutexGuard};
use std::task::Context;
use std::time::Duration;

use super::slot::{Slot, State};
use super::{Hold, Registry, Stage};
use crate::connection::Connection;
use crate::error::CloseError;
use crate::report::Report;
use crate::sys::HasSocket;

/// A connection in the registry. Dropping it removes the connection.
pub(in crate::on_tokio) struct Registration {
    slot: Arc<Slot>,
    registry: Arc<Registry>,
}

/// The program's right to use the descriptor of a connection; the shutdown waits
/// for it.
pub(in crate::on_tokio) struct Access<'a>(MutexGuard<'a, State>);

impl Registration {
    /// Adds a connection that was accepted just now.
    pub(in crate::on_tokio) fn new(
        registry: &Arc<Registry>,
        socket: &impl HasSocket,
        connection: Connection,
    ) -> Self {
        Self {
            slot: registry.add(socket, connection),
            registry: Arc::clone(registry),
        }
    }

    /// The right to use the descriptor, unless the deadline has passed.
    pub(in crate::on_tokio) fn access(&self) -> io::Result<Access<'_>> {
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
    pub(in crate::on_tokio) fn begin_ending(&self) -> bool {
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
    pub(in crate::on_tokio) fn leave_to_background(&self) {
        let mut state = self.slot.lock();
        if matches!(*state, State::Ending(_)) {
            *state = State::Background;
        }
    }

    /// What the background closer made of it, unless a shutdown's deadline came first.
    pub(in crate::on_tokio) fn record_from_background(&self, result: &Result<Report, CloseError>) {
        let in_time = matches!(*self.slot.lock(), State::Background);
        if in_time {
            self.record(result);
        }
    }

    /// It is held for late input; whether it may be any longer.
    pub(in crate::on_tokio) fn hold(&self, quiet: bool) -> Hold {
        self.registry.hold(&self.slot, quiet)
    }

    /// Wakes the task when the listener's shutdown comes further.
    pub(in crate::on_tokio) fn wake_later(&self, cx: &mut Context<'_>) {
        if let State::Ending(waker) = &mut *self.slot.lock() {
            match waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
        }
    }

    /// Whether the listener's shutdown has come to `stage`, or further.
    pub(in crate::on_tokio) fn is_at(&self, stage: Stage) -> bool {
        self.registry.is_at(stage)
    }

    /// For how long transmission is held back.
    pub(in crate::on_tokio) fn throttle_time(&self) -> Duration {
        self.registry.throttle_time()
    }

    /// Whether its listener is known to be one of TCP.
    pub(in crate::on_tokio) fn is_tcp(&self) -> bool {
        self.registry.tcp
    }

    pub(in crate::on_tokio) fn record(&self, result: &Result<Report, CloseError>) {
        self.registry.record(&self.slot.connection, result);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.remove(self.slot.id);
    }
}

impl Access<'_> {
    /// Remembers that the program has shut down its sending side.
    pub(in crate::on_tokio) fn note_half_closed(&mut self) {
        if let State::Open { half_closed, .. } = &mut *self.0 {
            *half_closed = true;
        }
    }
}
