//! Connections that were left to the kernel, each until its destroy notice comes.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use super::Sink;
use crate::connection::Connection;
use crate::ending::receipt::{DestroyNotice, Left};
use crate::report::Report;
use crate::sys::{BorrowedSocket, Destroyed, HasSocket, Notice, Overrun};

/// How long a notice is awaited: longer than the kernel itself keeps a connection
/// without progress that no process holds. One that is held elsewhere by a duplicate
/// of its descriptor can be open for ever.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

pub(super) struct DestroyNotices {
    notices: Destroyed,
    waiting: HashMap<u64, Waiting>,
    /// When each is given up, in order. Those whose notice has come are in it, too.
    due: VecDeque<(Instant, u64)>,
}

struct Waiting {
    left: Left,
    began: Instant,
    connection: Option<Connection>,
    sink: Sink,
}

/// A close whose result is known.
pub(super) struct Finished {
    pub(super) sink: Sink,
    pub(super) report: Report,
    pub(super) connection: Option<Connection>,
}

impl Waiting {
    fn finish(self, report: impl FnOnce(&Left, Duration) -> Report) -> Finished {
        Finished {
            report: report(&self.left, self.began.elapsed()),
            sink: self.sink,
            connection: self.connection,
        }
    }
}

impl DestroyNotices {
    pub(super) fn subscribe() -> io::Result<Self> {
        Ok(Self {
            notices: Destroyed::subscribe()?,
            waiting: HashMap::new(),
            due: VecDeque::new(),
        })
    }

    /// Waits for the destroy notice of a connection that was closed just now. The notice
    /// cannot have come before the subscription, nor be read before this.
    pub(super) fn await_notice(
        &mut self,
        cookie: u64,
        left: Left,
        began: Instant,
        connection: Option<Connection>,
        sink: Sink,
    ) {
        let waiting = Waiting {
            left,
            began,
            connection,
            sink,
        };
        self.waiting.insert(cookie, waiting);
        // Where the clock cannot hold it, there is no such time.
        if let Some(due) = Instant::now().checked_add(PATIENCE) {
            self.due.push_back((due, cookie));
        }
        // One whose notice never comes must not keep the entries behind it.
        if self.due.len() > 64 + 2 * self.waiting.len() {
            self.due
                .retain(|(_, cookie)| self.waiting.contains_key(cookie));
        }
    }

    /// The network namespace whose connections the notices are of, where the kernel
    /// gives it.
    pub(super) fn namespace(&self) -> Option<u64> {
        self.notices.namespace()
    }

    /// Returns when the next one that still waits is given up.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        while let Some((due, cookie)) = self.due.front() {
            if self.waiting.contains_key(cookie) {
                return Some(*due);
            }
            self.due.pop_front();
        }
        None
    }

    /// Gives up those whose time is over.
    pub(super) fn expire(&mut self, now: Instant, mut deliver: impl FnMut(Finished)) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some((_, cookie)) = self.due.pop_front() else {
                return;
            };
            if let Some(waiting) = self.waiting.remove(&cookie) {
                deliver(waiting.finish(Left::unseen));
            }
        }
    }

    /// Reads the notices that have come. Where the kernel lost some, every connection that
    /// still waits is reported as unseen.
    pub(super) fn read(&mut self, mut deliver: impl FnMut(Finished)) {
        let Self {
            notices, waiting, ..
        } = self;
        let read = notices.read(|notice| {
            if let Some(waiting) = waiting.remove(&notice.cookie) {
                deliver(waiting.finish(|left, time| left.report(&contents(&notice), time)));
            }
        });
        if let Err(Overrun) = read {
            self.give_up(deliver);
        }
    }

    /// Reports every connection that still waits as unseen.
    pub(super) fn give_up(&mut self, mut deliver: impl FnMut(Finished)) {
        for (_, waiting) in self.waiting.drain() {
            deliver(waiting.finish(Left::unseen));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl HasSocket for DestroyNotices {
    fn borrowed(&self) -> BorrowedSocket<'_> {
        self.notices.borrowed()
    }
}

fn contents(notice: &Notice) -> DestroyNotice {
    let counters = notice.counters;
    DestroyNotice::new(
        notice.queued,
        counters.map(|c| (c.acked, c.transmitted, c.unsent.into())),
        counters.map(|c| c.data_segments_in),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closer::InputCount;
    use crate::report::{Fate, Side};

    /// A duplicate of the descriptor keeps the connection, and no notice comes.
    #[test]
    fn what_never_comes_is_given_up_in_time() {
        let Ok(mut notices) = DestroyNotices::subscribe() else {
            return; // no netlink here, as in some sandboxes
        };
        let began = Instant::now();
        for cookie in [1, 2] {
            let left = Left {
                closed_first: Side::Local,
                data_segments_in: 0,
            };
            notices.await_notice(
                cookie,
                left,
                began,
                None,
                Box::new(|_| InputCount::UNWANTED),
            );
        }
        notices.waiting.remove(&1);
        let due = notices.next_due().expect("one waits");
        assert!(due >= began + PATIENCE);
        let mut told = Vec::new();
        notices.expire(began, |one| told.push(one.report));
        assert!(told.is_empty());
        notices.expire(due, |one| told.push(one.report));
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].fate, told[0].lost), (Fate::Detached, None));
        assert!(notices.is_empty());
        assert_eq!(notices.next_due(), None);
    }
}
