//! Where endings wait a moment for the peer, before they are worth a task.
//!
//! Most clients close as soon as they have their answer, within a round trip. A
//! task of its own for each such ending, with an alarm and wakers, would cost a
//! server of short connections more than all the rest of its ending. So endings
//! of a listener gather here for a millisecond; one sweep looks at them all, and
//! only those that are not over go on as tasks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::tokio::runtime::Handle;
use ::tokio::sync::Notify;

use super::end::Ending;

/// Between two sweeps.
const MOMENT: Duration = Duration::from_millis(4);

#[derive(Default)]
pub(super) struct Lobby {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Default)]
struct State {
    waiting: Vec<Ending>,
    sweeper: Sweeper,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Sweeper {
    #[default]
    NotYet,
    There,
    /// Its runtime has ended.
    Gone,
}

impl Lobby {
    /// Takes an ending in, or gives it back where nobody will look after it.
    #[expect(clippy::result_large_err, reason = "it goes back whole")]
    pub(super) fn enter(
        self: &Arc<Self>,
        ending: Ending,
        runtime: Option<&Handle>,
    ) -> Result<(), Ending> {
        let mut state = self.lock();
        if state.sweeper == Sweeper::Gone {
            return Err(ending);
        }
        let first = state.waiting.is_empty();
        state.waiting.push(ending);
        let hire = state.sweeper == Sweeper::NotYet;
        state.sweeper = Sweeper::There;
        drop(state);
        if hire {
            let sweep = sweep(Shift(Arc::clone(self)));
            match runtime {
                Some(runtime) => drop(runtime.spawn(sweep)),
                // Dropped, it sends everybody on.
                None => drop(sweep),
            }
        }
        if first {
            self.bell.notify_one();
        }
        Ok(())
    }

    /// Nobody will come any more.
    pub(super) fn close(&self) {
        self.lock().sweeper = Sweeper::Gone;
        self.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While somebody sweeps. Dropped, with the task or its runtime, it sends
/// everybody on.
struct Shift(Arc<Lobby>);

impl Drop for Shift {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.sweeper = Sweeper::Gone;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for ending in waiting {
            ending.spawn(None);
        }
    }
}

async fn sweep(shift: Shift) {
    let mut endings = Vec::new();
    loop {
        shift.0.bell.notified().await;
        ::tokio::time::sleep(MOMENT).await;
        let mut state = shift.0.lock();
        std::mem::swap(&mut endings, &mut state.waiting);
        let over = state.sweeper == Sweeper::Gone;
        drop(state);
        for mut ending in endings.drain(..) {
            ending.look();
            if !ending.is_over() {
                ending.spawn(None);
            }
        }
        if over {
            return;
        }
    }
}
