//! What a shutdown does to the connections that are open near its deadline.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::slot::{Slot, State};
use super::{Registry, Stage};
use crate::driver::Prepared;
use crate::error::CloseError;
use crate::on_tokio::timer;
use crate::policy::Policy;
use crate::sys::{self, NoLook};

/// A shutdown near its deadline, which holds transmission back. Dropped before it is
/// through, as the last one, it lets everything go on.
pub(in crate::on_tokio) struct Throttling<'a>(&'a Registry);

impl Drop for Throttling<'_> {
    fn drop(&mut self) {
        let last = {
            let mut records = self.0.records();
            records.throttling -= 1;
            records.throttling == 0 && !records.open.is_empty()
        };
        if last {
            self.0.unthrottle_all();
        }
    }
}

impl Registry {
    /// The deadline is near: what is transmitted now might not be acknowledged by
    /// then, and the peer have it all the same.
    ///
    /// The deadline is `last` away. What a connection is held back for is three times
    /// that, and a second at least: the kernel takes up to half of it off for one that
    /// was idle before, and a busy machine may come late.
    pub(in crate::on_tokio) async fn throttle(&self, last: Duration) -> Throttling<'_> {
        self.records().throttling += 1;
        let hold = u64::try_from(3 * last.as_millis()).unwrap_or(u64::MAX);
        let hold = hold.max(1000);
        self.throttle_time.fetch_max(hold, Ordering::AcqRel);
        let throttling = Throttling(self);
        self.advance(Stage::Throttled);
        self.each(|slot| slot.lock().throttle(self.throttle_time()))
            .await;
        throttling
    }

    pub(super) fn throttle_time(&self) -> Duration {
        Duration::from_millis(self.throttle_time.load(Ordering::Acquire))
    }

    /// A shutdown was given up: the connections go on as before it held them back.
    fn unthrottle_all(&self) {
        self.stages.send_modify(|now| {
            *now = Stage::Closed.min(*now);
            self.stage.store(*now as u8, Ordering::Release);
        });
        for slot in self.slots() {
            slot.lock().unthrottle();
        }
        self.wake_endings();
    }

    /// The deadline is here: resets what the program still has open, and has the
    /// endings under way finish. Waits for nobody, except a moment for
    /// acknowledgements of what is on its way.
    pub(in crate::on_tokio) async fn abort_open(&self) {
        const PAUSE: Duration = Duration::from_millis(2);
        self.advance(Stage::Deadline);
        loop {
            self.each(|slot| self.abort_one(slot)).await;
            if timer::within(PAUSE, self.emptied()).await {
                return;
            }
            // To try again.
            self.wake_endings();
        }
    }

    /// Calls `act` for every slot, without keeping this thread's other tasks from
    /// their deadlines.
    async fn each(&self, mut act: impl FnMut(&Slot)) {
        for some in self.slots().chunks(64) {
            for slot in some {
                act(slot);
            }
            ::tokio::task::yield_now().await;
        }
    }

    fn abort_one(&self, slot: &Slot) {
        let mut state = slot.lock();
        let State::Open {
            socket,
            half_closed,
            settle_timer,
            ..
        } = &mut *state
        else {
            if matches!(*state, State::Background) {
                // Nothing here hastens it.
                *state = State::Aborted;
                drop(state);
                let late = io::ErrorKind::TimedOut.into();
                self.record(&slot.connection, &Err(CloseError::lost_sight(late)));
                self.remove(slot.id);
            }
            return;
        };
        let socket = socket.borrowed();
        if !sys::freeze_if_settled(socket) && !settle_timer.is_over() {
            return;
        }
        let policy = if *half_closed {
            Policy::abort().and_sending_shut_down()
        } else {
            Policy::abort()
        };
        let result = match Prepared::inspect(socket, &policy, Instant::now()) {
            Ok(prepared) => prepared
                .start()
                .1
                .report
                .expect("an abort reports at once")
                .into_result(),
            // A connection that was accepted is never refused.
            Err((NoLook::Refused(refusal), _)) => {
                Err(CloseError::lost_sight(refusal.errno().into()))
            }
            Err((NoLook::Failed(error), _)) => Err(CloseError::lost_sight(error)),
        };
        *state = State::Aborted;
        drop(state);
        self.record(&slot.connection, &result);
        self.remove(slot.id);
    }
}
