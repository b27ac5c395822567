//! What other threads ask of a closer's thread.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use super::Sink;
use crate::live::Live;
use crate::policy::Policy;
use crate::sys;

/// Something to end.
pub(super) enum Job {
    Begin(Begin),
    /// Begun elsewhere. Where nobody awaits its report any more there is no sink.
    Adopt(Live, Option<Sink>),
}

/// A connection to be closed.
pub(super) struct Begin {
    pub(super) socket: Submitted,
    pub(super) policy: Policy,
    pub(super) began: Instant,
    pub(super) sink: Sink,
}

/// A socket on its way to the thread that closes. Input that comes meanwhile for a
/// reading side that is shut down is kept out: it would reset the connection.
pub(super) struct Submitted {
    socket: OwnedFd,
    trimmed: bool,
}

impl Submitted {
    pub(super) fn new(socket: OwnedFd) -> Self {
        let trimmed = sys::trim_ahead(socket.as_fd());
        Self { socket, trimmed }
    }

    /// The socket, to be closed.
    pub(super) fn into_closing(self) -> OwnedFd {
        self.socket
    }

    /// The socket as it came, whose close does not begin.
    pub(super) fn into_untouched(self) -> OwnedFd {
        if self.trimmed {
            sys::untrim(self.socket.as_fd());
        }
        self.socket
    }
}

impl AsFd for Submitted {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
