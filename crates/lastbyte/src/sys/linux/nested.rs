//! Edges in tokio's reactor.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;

use super::super::Look;
use super::edges::{Edges, Event};

/// An epoll instance that the runtime's own watches.
pub(crate) struct Nested(AsyncFd<Edges>);

impl Nested {
    /// # Panics
    /// Outside of a runtime with IO.
    #[allow(
        deprecated,
        reason = "its successor is unsafe, and not in the oldest tokio that we support"
    )]
    pub(crate) fn new(edges: Edges) -> io::Result<Self> {
        AsyncFd::with_interest(edges, Interest::READABLE).map(Self)
    }

    /// Ready when something happened; how closely to look.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<Look>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let mut events = [Event::NONE];
            match self.0.get_ref().wait(&mut events, Some(Duration::ZERO))? {
                [] => guard.clear_ready(),
                [event, ..] => return Poll::Ready(Ok(event.look())),
            }
        }
    }
}
