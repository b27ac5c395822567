//! Connections left to the kernel, whose last word is awaited.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

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
    peer: Option<SocketAddr>,
    sink: Sink,
}

/// Something to be told.
pub(super) struct Told {
    pub(super) sink: Sink,
    pub(super) report: Report,
    pub(super) peer: Option<SocketAddr>,
}

impl Waiting {
    fn told(self, report: impl FnOnce(&Left, Duration) -> Report) -> Told {
        Told {
            report: report(&self.left, self.began.elapsed()),
            sink: self.sink,
            peer: self.peer,
        }
    }
}

impl Receipts {
    pub(super) fn subscribe() -> io::Result<Self> {
        Ok(Self {
            notices: Destroyed::subscribe()?,
            waiting: HashMap::new(),
        })
    }

    /// Waits for the last word on a connection that was closed just now. It
    /// cannot have come before the subscription, nor be read before this.
    pub(super) fn await_word(
        &mut self,
        cookie: u64,
        left: Left,
        began: Instant,
        peer: Option<SocketAddr>,
        sink: Sink,
    ) {
        let waiting = Waiting {
            left,
            began,
            peer,
            sink,
        };
        self.waiting.insert(cookie, waiting);
    }

    /// Takes in what the kernel has said. Where it lost some, whoever still waits
    /// is told that the fate is unseen.
    pub(super) fn read(&mut self, mut tell: impl FnMut(Told)) {
        let Self { notices, waiting } = self;
        let read = notices.read(|notice| {
            if let Some(waiting) = waiting.remove(&notice.cookie) {
                tell(waiting.told(|left, time| left.report(&last_word(&notice), time)));
            }
        });
        if let Err(Overrun) = read {
            self.give_up(tell);
        }
    }

    /// Tells whoever still waits that the fate is not awaited any longer.
    pub(super) fn give_up(&mut self, mut tell: impl FnMut(Told)) {
        for (_, waiting) in self.waiting.drain() {
            tell(waiting.told(Left::unseen));
        }
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
    )
}
