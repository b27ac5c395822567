//! Endings of a listener's connections that wait a moment for the peer before each
//! becomes a task.
//!
//! Most clients close as soon as they have their answer. A task for each such ending, with
//! a timer, and with an event of the reactor for each packet that still comes, would be
//! most of what lastbyte costs a server of short connections. So they wait here, out of the
//! reactor, for a millisecond or two. One sweep looks at them all, and only those that are
//! not over then become tasks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::tokio::runtime::Handle;
use ::tokio::sync::Notify;

use super::task::Task;
use super::timer;

/// Between two sweeps.
const INTERVAL: Duration = Duration::from_millis(1);

#[derive(Default)]
pub(super) struct Sweeper {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    waiting: Vec<Task>,
    sweep: Sweep,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    #[default]
    NotStarted,
    Running,
    /// Its runtime has ended.
    Ended,
}

impl Sweeper {
    /// Takes an ending in, or gives it back where nobody will look after it.
    #[expect(clippy::result_large_err, reason = "it goes back whole")]
    pub(super) fn add(
        self: &Arc<Self>,
        mut task: Task,
        runtime: Option<&Handle>,
    ) -> Result<(), Task> {
        if self.lock().sweep == Sweep::Ended {
            return Err(task);
        }
        task.unwatch();
        let mut state = self.lock();
        if state.sweep == Sweep::Ended {
            return Err(task);
        }
        let first = state.waiting.is_empty();
        state.waiting.push(task);
        let start = state.sweep == Sweep::NotStarted;
        state.sweep = Sweep::Running;
        drop(state);
        if start {
            let task = sweep(Sweeping(Arc::clone(self)));
            match runtime {
                Some(runtime) => drop(runtime.spawn(task)),
                // Dropped, it sends everybody on.
                None => drop(task),
            }
        }
        if first {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Nobody will come any more.
    pub(super) fn close(&self) {
        self.lock().sweep = Sweep::Ended;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While somebody sweeps. Dropped, with the task or its runtime, it sends
/// everybody on.
struct Sweeping(Arc<Sweeper>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.sweep = Sweep::Ended;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for task in waiting {
            task.spawn(None);
        }
    }
}

async fn sweep(sweeping: Sweeping) {
    let mut tasks = Vec::new();
    loop {
        sweeping.0.wake.notified().await;
        let Some(alarm) = timer::alarm(timer::now() + INTERVAL) else {
            // The runtime has no time.
            return;
        };
        alarm.await;
        let mut state = sweeping.0.lock();
        std::mem::swap(&mut tasks, &mut state.waiting);
        let over = state.sweep == Sweep::Ended;
        drop(state);
        for task in &mut tasks {
            task.look();
        }
        tasks.retain(|task| !task.is_over());
        for task in tasks.drain(..) {
            task.spawn(None);
        }
        if over {
            return;
        }
    }
}
