//! Connections that the kernel closes: the shims' notes, and the kernel's notices.

use std::sync::Arc;

use lastbyte_run_protocol::{Kind, Left as Reason, Request};

use super::Supervisor;
use crate::channel::Sender;
use crate::descendants;
use crate::witness::monotonic;

impl Supervisor {
    pub(super) fn read_notices(&mut self) {
        if let Some(witness) = &mut self.witness {
            // One is of ours only if it was announced, and the announcement may be in the
            // channel still.
            witness.drain(|_| true, &mut self.notices);
        }
    }

    /// Writes down what the kernel said. Whatever was announced before a socket's end is
    /// in the channel when the notice is here.
    pub(super) fn handle_notices(&mut self) {
        if self.notices.is_empty() || self.inbox.is_held_back() {
            return;
        }
        self.receive_all();
        let now = monotonic();
        let mut entries = self.ledger.entries();
        for notice in std::mem::take(&mut self.notices) {
            if !entries.connections.knows(notice.cookie) {
                continue;
            }
            let reason = |process| {
                if descendants::is_alive(process) {
                    Reason::Unseen
                } else {
                    Reason::Ended
                }
            };
            if let Some((origin, fate)) = entries.connections.destroyed(&notice, now, reason) {
                self.ledger.write(&mut entries, origin, fate);
            }
        }
    }

    /// Takes note of a connection that the kernel closes, or will.
    pub(super) fn note(&mut self, request: &Request, sender: Sender) {
        let Some(witness) = &mut self.witness else {
            return;
        };
        let ledger = Arc::clone(&self.ledger);
        match request.kind {
            Kind::Opened => {
                let addresses = witness.confirm(request, sender);
                ledger
                    .entries()
                    .connections
                    .opened(request, sender, addresses);
            }
            Kind::HalfClosed => ledger.entries().connections.half_closed(request, sender),
            _ => {
                let mut entries = ledger.entries();
                let is_holder = || witness.is_holder(request, sender);
                let over = entries.connections.closes(request, sender, is_holder);
                if let Some((origin, fate)) = over {
                    ledger.write(&mut entries, origin, fate);
                }
            }
        }
    }
}
