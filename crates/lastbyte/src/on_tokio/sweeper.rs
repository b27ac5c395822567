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

/// Dropped, it ends the sweeps.
pub(super) struct Sweeper {
    waiting: Arc<Waiting>,
    /// Where the sweeps run.
    runtime: Option<Handle>,
}

#[derive(Default)]
struct Waiting {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    tasks: Vec<Task>,
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
    pub(super) fn new(runtime: Option<Handle>) -> Self {
        Self {
            waiting: Arc::default(),
            runtime,
        }
    }

    /// Has an ending go on with nobody waiting for it, and without a task where it is over
    /// soon.
    pub(super) fn leave(&self, task: Task) {
        if task.is_urgent() {
            return self.spawn(task);
        }
        if let Err(task) = self.add(task) {
            self.spawn(task);
        }
    }

    fn spawn(&self, task: Task) {
        task.spawn(self.runtime.as_ref());
    }

    /// Takes an ending in, or gives it back where nobody will look after it.
    #[expect(clippy::result_large_err, reason = "it goes back whole")]
    fn add(&self, mut task: Task) -> Result<(), Task> {
        if self.waiting.lock().sweep == Sweep::Ended {
            return Err(task);
        }
        task.unwatch();
        let mut state = self.waiting.lock();
        if state.sweep == Sweep::Ended {
            return Err(task);
        }
        let first = state.tasks.is_empty();
        state.tasks.push(task);
        let start = state.sweep == Sweep::NotStarted;
        state.sweep = Sweep::Running;
        drop(state);
        if start {
            let sweep = sweep(Sweeping(Arc::clone(&self.waiting)));
            match &self.runtime {
                Some(runtime) => drop(runtime.spawn(sweep)),
                // Dropped, it makes a task of each ending.
                None => drop(sweep),
            }
        }
        if first {
            self.waiting.wake.notify_one();
        }
        Ok(())
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.waiting.lock().sweep = Sweep::Ended;
        self.waiting.wake.notify_one();
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeps go on while it exists. Dropped, with the task or its runtime, it makes a task of
/// each ending that waits.
struct Sweeping(Arc<Waiting>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.sweep = Sweep::Ended;
        let tasks = std::mem::take(&mut state.tasks);
        drop(state);
        for task in tasks {
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
        std::mem::swap(&mut tasks, &mut state.tasks);
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
