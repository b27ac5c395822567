//! The count of input that a closer discarded, late input included, once it is known.

use std::fmt;

use super::{Closer, Sink};
use crate::contain::contain;
use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::OwnedSocket;

/// Who wants the count of one connection; called once, with `None` where it is not known.
pub(crate) struct InputCount(Option<Box<dyn FnOnce(Option<u64>) + Send>>);

impl InputCount {
    /// Nobody does.
    pub(crate) const UNWANTED: Self = Self(None);

    pub(super) fn new(then: impl FnOnce(Option<u64>) + Send + 'static) -> Self {
        Self(Some(Box::new(then)))
    }

    /// The descriptor is closed; so many bytes of input arrived and were discarded.
    pub(super) fn settle(mut self, bytes: Option<u64>) {
        self.call(bytes);
    }

    fn call(&mut self, bytes: Option<u64>) {
        if let Some(then) = self.0.take() {
            contain(|| then(bytes));
        }
    }
}

impl Drop for InputCount {
    fn drop(&mut self) {
        self.call(None);
    }
}

impl fmt::Debug for InputCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "InputCount(wanted)",
            None => "InputCount(unwanted)",
        })
    }
}

impl Closer {
    /// Ends a connection as [`close`](Self::close) does, and counts the input that comes
    /// after its fate as well: a connection may be
    /// [held](crate::Policy::with_drain_time) then, and a report's
    /// [`unread`](Report::unread) has what had come by the fate.
    ///
    /// `then` returns what is called once the descriptor is closed, with all bytes of input
    /// that arrived and were discarded from the beginning of the close on. It is called with
    /// `None` where that is not known: where the closer had to let go of the connection
    /// early, input was kept out by a filter, or the kernel closed it
    /// ([`Policy::with_receipt`](crate::Policy::with_receipt)).
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_counting_input<S, P, F, C>(
        &self,
        socket: S,
        policy: P,
        then: F,
    ) -> Result<(), CloseError>
    where
        S: Into<OwnedSocket>,
        P: Into<Policy>,
        F: FnOnce(Result<Report, CloseError>) -> C + Send + 'static,
        C: FnOnce(Option<u64>) + Send + 'static,
    {
        let sink: Sink = Box::new(|result| InputCount::new(then(result)));
        self.submit(socket.into(), policy.into(), sink)
    }
}
