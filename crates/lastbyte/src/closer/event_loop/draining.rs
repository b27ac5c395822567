//! What a drain does to the connections in flight.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use super::entry::report_notice;
use super::{EventLoop, Key};
use crate::connection::Connection;
use crate::driver::Prepared;
use crate::error::CloseError;
use crate::sys::{Look, Readiness};

/// A drain under way.
pub(super) struct Draining {
    pub(super) until: Instant,
    /// Whose the connections are that were not reported when it began.
    pub(super) connections: HashMap<Key, Connection>,
}

impl<R: Readiness> EventLoop<R> {
    pub(super) fn connection_for_drain(&mut self, prepared: &Prepared) -> Option<Connection> {
        self.begin_draining();
        self.draining.as_ref()?;
        Some(Connection::of(&prepared.socket()))
    }

    /// Notes that a drain has begun, and which connections are in flight: once
    /// they are gone, the kernel no longer knows the addresses.
    pub(super) fn begin_draining(&mut self) {
        if self.draining.is_some() || !self.shared.account.is_draining() {
            return;
        }
        let Some(until) = self.shared.account.drain_until() else {
            return;
        };
        let connections = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.reported)
            .map(|(key, entry)| (key, Connection::of(&entry.driver.socket())))
            .collect();
        self.draining = Some(Draining { until, connections });
    }

    /// Cuts short what is not reported by the drain's deadline.
    pub(super) fn go_on_draining(&mut self) {
        self.begin_draining();
        let Some(draining) = &mut self.draining else {
            return;
        };
        // A second drain may have a shorter time.
        if let Some(until) = self.shared.account.drain_until() {
            draining.until = until;
        }
        let nothing_left = self.jobs.is_empty() && self.shared.account.unreported() == 0;
        if nothing_left || Instant::now() < draining.until {
            return;
        }
        while let Some(job) = self.jobs.pop() {
            self.admit(job);
        }
        let unreported: Vec<Key> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.reported)
            .map(|(key, _)| key)
            .collect();
        for key in unreported {
            self.cut_short(key);
        }
        if let Some(notices) = &mut self.notices {
            let shared = &self.shared;
            notices.give_up(|finished| report_notice(finished, shared));
        }
    }

    pub(super) fn cut_short(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.driver.cut_short();
        }
        self.step(key, Look::Full);
        let Some(entry) = self.entries.get_mut(key).filter(|entry| !entry.reported) else {
            return;
        };
        // It cannot be seen: no drain waits for that.
        entry.driver.release();
        let error = io::ErrorKind::TimedOut.into();
        entry.fail(CloseError::lost_sight(error), &self.shared);
        self.remove(key);
        self.settle_account(true);
    }
}
