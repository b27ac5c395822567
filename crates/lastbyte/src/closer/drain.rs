//! Ending everything in flight by one deadline: a deploy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Instant;

use super::slots::Key;
use crate::report::Report;
use crate::sums::Sums;

/// What became of the connections that were in flight when a drain began.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Drained {
    /// Each connection, in the order of their ends.
    pub endings: Vec<Ended>,
    /// All of them together.
    pub sums: Sums,
}

#[cfg(feature = "tokio")]
impl Drained {
    pub(crate) fn add(&mut self, peer: SocketAddr, report: &Report) {
        self.sums.add(report);
        self.endings.push(Ended {
            peer: Some(peer),
            report: *report,
        });
    }
}

/// One connection of a drain.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Ended {
    /// Whose it was; `None` where it was gone, or left to the kernel,
    /// when the drain began.
    pub peer: Option<SocketAddr>,
    /// What became of its bytes.
    pub report: Report,
}

/// A drain under way.
pub(super) struct Draining {
    pub(super) until: Instant,
    waiting: HashMap<Key, Option<SocketAddr>>,
    /// Connections left to the kernel whose last word is awaited.
    left: usize,
    drained: Drained,
    reply: mpsc::Sender<Drained>,
}

impl Draining {
    pub(super) fn new(
        until: Instant,
        waiting: HashMap<Key, Option<SocketAddr>>,
        left: usize,
        reply: mpsc::Sender<Drained>,
    ) -> Self {
        Self {
            until,
            waiting,
            left,
            drained: Drained::default(),
            reply,
        }
    }

    pub(super) fn note(&mut self, key: Key, report: &Report) {
        if let Some(peer) = self.waiting.remove(&key) {
            self.drained.sums.add(report);
            self.drained.endings.push(Ended {
                peer,
                report: *report,
            });
        }
    }

    /// The last word on one that was left to the kernel.
    pub(super) fn note_left(&mut self, report: &Report) {
        self.left = self.left.saturating_sub(1);
        self.drained.sums.add(report);
        self.drained.endings.push(Ended {
            peer: None,
            report: *report,
        });
    }

    pub(super) fn waiting(&self) -> Vec<Key> {
        self.waiting.keys().copied().collect()
    }

    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.left == 0
    }

    pub(super) fn finish(mut self) {
        for _ in self.waiting.drain() {
            self.drained.sums.add_unseen();
        }
        // Nobody is waiting any more if this fails.
        let _ = self.reply.send(self.drained);
    }
}
