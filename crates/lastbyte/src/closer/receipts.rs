//! Connections left to the kernel, whose last word is awaited.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::Sink;
use crate::ending::receipt::{LastWord, Left};
use crate::report::Report;
use crate::sys::{Destroyed, Notice, Overrun};

pub(super) struct Receipts {
    notices: Destroyed,
    waiting: HashMap<u64, Waiting>,
}

struct Waiting {
    left: Left,
    began: Instant,
    sink: Sink,
}

/// Something to be told.
pub(super) type Told = (Sink, Report);

impl Receipts {
    pub(super) fn subscribe() -> io::Result<Self> {
        Ok(Self {
            notices: Destroyed::subscribe()?,
            waiting: HashMap::new(),
        })
    }

    /// Waits for the last word on a connection that was closed just now. It
    /// cannot have come before the subscription, nor be read before this.
    pub(super) fn await_word(&mut self, cookie: u64, left: Left, began: Instant, sink: Sink) {
        self.waiting.insert(cookie, Waiting { left, began, sink });
    }

    /// Takes in what the kernel has said. Where it lost some, whoever still waits
    /// is told that the fate is unseen.
    pub(super) fn read(&mut self, mut tell: impl FnMut(Told)) {
        let Self { notices, waiting } = self;
        let read = notices.read(|notice| {
            if let Some(Waiting { left, began, sink }) = waiting.remove(&notice.cookie) {
                tell((sink, left.report(&last_word(&notice), began.elapsed())));
            }
        });
        if let Err(Overrun) = read {
            self.give_up(tell);
        }
    }

    /// Tells whoever still waits that the fate is not awaited any longer.
    pub(super) fn give_up(&mut self, mut tell: impl FnMut(Told)) {
        for (_, Waiting { left, began, sink }) in self.waiting.drain() {
            tell((sink, left.unseen(began.elapsed())));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl AsFd for Receipts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notices.as_fd()
    }
}

fn last_word(notice: &Notice) -> LastWord {
    let counters = notice.counters;
    LastWord::new(
        notice.queued,
        counters.map(|c| (c.acked, c.transmitted, c.unsent)),
        counters.map(|c| c.data_segments_in),
        counters.is_some_and(|c| c.unanswered),
    )
}
