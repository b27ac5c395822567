//! What of tokio's reactor wakes an ending.

use std::io;
use std::task::{Context, Poll};

use ::tokio::io::Interest;
use ::tokio::net::TcpStream;

use super::socket::Socket;
use super::timer;
use crate::driver::Prepared;
use crate::sys::{self, BorrowedSocket, Edges, Look, Nested};

/// Where the edges of the connection show.
pub(super) enum Watch {
    /// In the registration that the stream has had with the reactor all along.
    ///
    /// tokio never takes back that a side is closed. Once both FINs have passed,
    /// such a registration is ready for good, long before ours is acknowledged.
    Own,
    /// In an epoll instance between the connection and the reactor.
    Nested(Nested),
    /// Nowhere, because there was no descriptor to be had. It is looked at from time
    /// to time.
    Unwatched { looks: u32 },
}

impl Watch {
    /// The stream's own readiness, where that shows everything.
    pub(super) const fn first() -> Self {
        match sys::LOOKS_EVERY {
            None => Self::Own,
            Some(_) => Self::Unwatched { looks: 0 },
        }
    }

    /// Returns what it takes to wait for a close: time, and where the connection is not in the
    /// reactor already a descriptor that is.
    pub(super) fn prepare(prepared: &Prepared<Socket>) -> io::Result<Self> {
        if !prepared.may_wait() {
            return Ok(Self::first());
        }
        timer::needs_time()?;
        if sys::LOOKS_EVERY.is_some() {
            return Ok(Self::first());
        }
        match prepared.owner().watched() {
            Some(_) => Ok(Self::Own),
            None => Self::nest(prepared.socket()),
        }
    }

    /// Watches the connection in an epoll instance of its own.
    pub(super) fn nest(socket: BorrowedSocket<'_>) -> io::Result<Self> {
        let edges = Edges::new()?;
        edges.add(socket, 0)?;
        timer::register(|| Nested::new(edges)).map(Self::Nested)
    }
}

/// Ready when something happened to the stream, once; how closely to look.
pub(super) fn poll_own(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Look>> {
    // Both, so that either wakes the task.
    let read = stream.poll_read_ready(cx)?;
    let write = stream.poll_write_ready(cx)?;
    if read.is_pending() && write.is_pending() {
        return Poll::Pending;
    }
    // Before the look: what comes after it is ready again.
    clear(stream);
    Poll::Ready(Ok(if read.is_ready() {
        Look::Input
    } else {
        Look::Queue
    }))
}

/// Makes the stream unready until something happens: readiness is edge-triggered.
pub(super) fn clear(stream: &TcpStream) {
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let _ = stream.try_io(interest, || {
            Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock))
        });
    }
}
