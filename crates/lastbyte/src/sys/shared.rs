//! What the parts of all platforms have in common.

use std::io;
use std::time::Duration;

use super::{BorrowedSocket, Event};
use crate::error::Refusal;

/// Why there is no first observation.
pub(crate) enum NoLook {
    Refused(Refusal),
    Failed(io::Error),
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// At the send queue; and at the input too once it is empty, because then the
    /// connection may be closed.
    Queue,
    /// At the input as well.
    Input,
    /// At the input and the state: both sides may be through.
    #[cfg_attr(
        all(windows, not(test)),
        expect(dead_code, reason = "every look is a full one")
    )]
    HangUp,
    /// At the input alone: the queue was seen to be empty.
    Late,
    /// At everything.
    Full,
}

/// What an open connection is known by when its end is left to the kernel.
pub(crate) struct Identity {
    /// What the kernel's notice of its end will carry (SO_COOKIE, Linux 4.12).
    pub(crate) cookie: u64,
    /// Data segments that came in so far.
    pub(crate) data_segments_in: u32,
    /// Whether the peer's FIN is in.
    pub(crate) peer_closed: bool,
    /// The network namespace, where the kernel tells.
    pub(crate) namespace: Option<u64>,
}

/// The filters that an ending has put on its socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filters {
    /// By `trim`.
    pub(crate) trimmed: bool,
    /// By `freeze`.
    pub(crate) frozen: bool,
}

/// What tells a closer about its connections: epoll, or something in its place.
pub(crate) trait Readiness {
    /// Watches a connection's edges; what holds already is the first.
    fn add(&mut self, socket: BorrowedSocket<'_>, token: u64) -> io::Result<()>;

    /// Watches a timer or waker.
    fn add_readable(&mut self, fd: BorrowedSocket<'_>, token: u64) -> io::Result<()>;

    /// Lets go of a connection whose descriptor was closed.
    fn forget(&mut self, token: u64);

    /// Waits for events, `timeout` at most, and puts them in place of what was in
    /// `events`. It may end early with none.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;
}
