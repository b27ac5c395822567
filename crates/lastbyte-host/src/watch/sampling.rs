//! Dumps of the living sockets, and who owns them.

use std::io;
use std::time::{Duration, Instant};

use super::{SHARE, Watcher};
use crate::source::{clock, owners};
use crate::tuple::State;

/// Between two dumps at least.
const ROUND: Duration = Duration::from_millis(500);

impl Watcher {
    /// A look at every living socket, and at who owns the new ones.
    pub(super) fn round(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let every = State::ALL
            .iter()
            .filter(|state| {
                !matches!(
                    state,
                    State::TimeWait | State::Closed | State::NewSynReceived
                )
            })
            .fold(0, |mask, state| mask | state.bit());
        let Self {
            spaces,
            tracker,
            owners,
            ..
        } = self;
        tracker.begin_round(clock::monotonic());
        for diag in spaces.diags() {
            diag.dump(every, true, |socket| {
                tracker.row(clock::monotonic(), socket)
            })?;
        }
        tracker.end_round(|inode| owners.get(&inode).copied());
        if tracker.owners_wanted() && Instant::now() >= self.next_owners {
            let began = Instant::now();
            *owners = owners::read()?;
            tracker.end_round(|inode| owners.get(&inode).copied());
            self.next_owners = Instant::now() + began.elapsed() * SHARE;
        }
        self.next_round = Instant::now() + ROUND.max(began.elapsed() * SHARE);
        Ok(())
    }
}
