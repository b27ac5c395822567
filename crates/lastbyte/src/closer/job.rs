//! What other threads ask of a closer's thread.

use std::time::Instant;

use super::Sink;
use crate::connection::Connection;
use crate::driver::Driver;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::{self, BorrowedSocket, HasSocket, OwnedSocket};

/// Something to end.
pub(super) enum Job {
    Begin(Begin),
    /// Begun elsewhere. Where nobody awaits its report any more there is no sink.
    Adopt(Driver, Option<Sink>),
    /// Over already; its report is to be delivered.
    Aborted(Aborted),
}

/// A connection to be closed.
pub(super) struct Begin {
    pub(super) socket: Submitted,
    pub(super) policy: Policy,
    pub(super) began: Instant,
    pub(super) sink: Sink,
}

/// A connection that was aborted in the calling thread.
pub(super) struct Aborted {
    pub(super) report: Report,
    pub(super) connection: Connection,
    pub(super) sink: Sink,
}

/// A socket on its way to the thread that closes. Input that comes meanwhile for a
/// reading side that is shut down is kept out: it would reset the connection.
pub(super) struct Submitted {
    socket: OwnedSocket,
    trimmed: bool,
}

impl Submitted {
    pub(super) fn new(socket: OwnedSocket) -> Self {
        let trimmed = sys::trim_ahead(socket.borrowed());
        Self { socket, trimmed }
    }

    /// One that nothing is done to yet.
    pub(super) fn untouched(socket: OwnedSocket) -> Self {
        Self {
            socket,
            trimmed: false,
        }
    }

    /// The socket, to be closed.
    pub(super) fn into_closing(self) -> OwnedSocket {
        self.socket
    }

    /// The socket as it came, whose close does not begin.
    pub(super) fn into_untouched(self) -> OwnedSocket {
        if self.trimmed {
            sys::untrim(self.socket.borrowed());
        }
        self.socket
    }
}

impl HasSocket for Submitted {
    fn borrowed(&self) -> BorrowedSocket<'_> {
        self.socket.borrowed()
    }
}
