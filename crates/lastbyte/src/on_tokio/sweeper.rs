//! Where endings wait a moment for the peer, before they are worth a task.
//!
//! Most clients close as soon as they have their answer. A task for each such
//! ending, with an alarm, and with an event of the reactor for each packet that
//! still comes, would be most of what lastbyte costs a server of short
//! connections. So endings of a listener gather here, out of the reactor, for a
//! millisecond or two; one sweep looks at them all, and only those that are not
//! over go on as tasks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::tokio::runtime::Handle;
use ::tokio::sync::Notify;

use super::task::Ending;
use super::timer;

/// Between two sweeps.
const MOMENT: Duration = Duration::from_millis(1);

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
        mut ending: Ending,
        runtime: Option<&Handle>,
    ) -> Result<(), Ending> {
        if self.lock().sweeper == Sweeper::Gone {
            return Err(ending);
        }
        ending.unwatch();
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
        let Some(alarm) = timer::alarm(timer::now() + MOMENT) else {
            // The runtime has no time.
            return;
        };
        alarm.await;
        let mut state = shift.0.lock();
        std::mem::swap(&mut endings, &mut state.waiting);
        let over = state.sweeper == Sweeper::Gone;
        drop(state);
        for ending in &mut endings {
            ending.look();
        }
        endings.retain(|ending| !ending.is_over());
        for ending in endings.drain(..) {
            ending.spawn(None);
        }
        if over {
            return;
        }
    }
}
