//! The end: what is left is written down, and the sums are drawn.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Supervisor;
use crate::account::{Account, Parts};
use crate::ledger::Entries;
use crate::record::{Known, Left, Origin};
use crate::{Outcome, descendants, messages};

impl Supervisor {
    pub(super) fn finish(mut self) -> Outcome {
        let open = self.write_what_is_left();
        self.warn_if_no_shim_came_up();
        self.warn_of_descendants();
        // Endings that were left go on in the closers' threads and find no log.
        self.ledger.is_over.store(true, Ordering::Release);
        let (account, log) = {
            let mut entries = self.ledger.entries();
            (self.account(&mut entries, open), entries.log.take())
        };
        let log_error = log.and_then(|mut log| {
            if !account.is_whole() {
                log.write(account.clone());
            }
            log.finish().err()
        });
        Outcome {
            status: self.status.unwrap_or(u8::MAX),
            sums: self.ledger.entries().sums.clone(),
            account,
            log_error,
        }
    }

    /// Writes down connections whose fate is not known, and returns how many are open
    /// still in processes that go on.
    fn write_what_is_left(&self) -> u64 {
        let mut entries = self.ledger.entries();
        let left: Vec<(Origin, Instant)> = entries.open.drain().map(|(_, open)| open).collect();
        if !left.is_empty() {
            messages::print(format_args!(
                "{} without an end yet left to the kernel",
                count(left.len(), "connection", "connections")
            ));
        }
        for (origin, began) in left {
            let fate = Known::Left(Left::unwatched(began.elapsed()));
            self.ledger.write(&mut entries, origin, fate);
        }
        entries.write_uncounted();
        let mut ended = Vec::new();
        let open = entries
            .connections
            .finish(descendants::is_alive, |one| ended.push(one));
        for (origin, fate) in ended {
            self.ledger.write(&mut entries, origin, fate);
        }
        open
    }

    fn warn_if_no_shim_came_up(&mut self) {
        if self.uncovered.is_empty() && !self.ledger.mapping.get().has_arrival() {
            messages::print(
                "the shim did not come up in the program, so its closes were the \
                 kernel's own; the loader's messages above may say why",
            );
            self.uncovered
                .push("the program, in which the shim did not come up".to_owned());
        }
    }

    fn warn_of_descendants(&self) {
        let descendants = descendants::count();
        if self.inbox.is_open() && descendants > 0 {
            messages::print(format_args!(
                "the program left {} behind; from now on their closes are the kernel's own \
                 (--follow stays for them)",
                count(descendants, "process", "processes")
            ));
        }
    }

    fn account(&self, entries: &mut Entries, open: u64) -> Account {
        let mut uncovered = self.uncovered.clone();
        uncovered.append(&mut entries.uncovered);
        Account::new(Parts {
            shared: self.ledger.mapping.get(),
            left: entries.connections.left(),
            open,
            unfollowed: entries.connections.unfollowed(),
            uncovered,
        })
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
