//! A system on which nothing keeps input out of one connection, holds it still or paces it, and
//! that does not tell who waits to be accepted.

#[cfg(feature = "tokio")]
use std::time::Duration;

use super::socket::BorrowedSocket;

pub(crate) fn freeze(_socket: BorrowedSocket<'_>) -> bool {
    false
}

pub(crate) fn trim(_socket: BorrowedSocket<'_>) -> bool {
    false
}

pub(crate) fn trim_ahead(_socket: BorrowedSocket<'_>) -> bool {
    false
}

pub(crate) fn untrim(_socket: BorrowedSocket<'_>) {}

/// Not known.
#[cfg(feature = "tokio")]
pub(crate) fn backlog(_listener: BorrowedSocket<'_>) -> Option<usize> {
    None
}

/// Whether all that was transmitted is acknowledged does not matter: it cannot be held still.
#[cfg(feature = "tokio")]
pub(crate) fn freeze_if_settled(_socket: BorrowedSocket<'_>) -> bool {
    false
}

#[cfg(feature = "tokio")]
pub(crate) fn throttle(_socket: BorrowedSocket<'_>, _time: Duration) -> Option<Throttled> {
    None
}

#[cfg(feature = "tokio")]
#[derive(Clone, Copy)]
pub(crate) struct Throttled(());

#[cfg(feature = "tokio")]
pub(crate) fn unthrottle(_socket: BorrowedSocket<'_>, _before: Throttled) {}
