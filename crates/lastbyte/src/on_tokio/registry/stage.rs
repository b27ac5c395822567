//! The stages of a listener's shutdown, and the times that they take.

use std::time::{Duration, Instant};

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::on_tokio) enum Stage {
    Serving,
    /// Accepts what has connected already, and then no more.
    LastAccepts,
    /// The server stops.
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
pub(in crate::on_tokio) const ONE_ACK: Duration = Duration::from_millis(50);

/// How long a listener that accepts is given to let in who has connected already,
/// before the server stops.
pub(in crate::on_tokio) const LAST_ACCEPTS_TIME: Duration = Duration::from_millis(50);

/// How long a connection may take to settle: one of the first ten segments may
/// follow another.
pub(in crate::on_tokio) const SETTLE_TIME: Duration = Duration::from_millis(100);

/// Measures how long a shutdown has waited for a connection to settle.
#[derive(Clone, Copy, Default)]
pub(in crate::on_tokio) struct SettleTimer(Option<Instant>);

impl SettleTimer {
    pub(in crate::on_tokio) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        now - *self.0.get_or_insert(now) >= SETTLE_TIME
    }
}
