//! `CLOCK_MONOTONIC`, which the tracepoints are stamped with, and its relation
//! to the time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub(crate) fn monotonic() -> u64 {
    read(ClockId::Monotonic)
}

/// Nanoseconds of `CLOCK_BOOTTIME`: with the time that the machine was suspended.
#[must_use]
pub(crate) fn boot() -> u64 {
    read(ClockId::Boottime)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // These clocks start at 0 and a nanosecond part is below 1e9.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// How much of the time since the start is not in [`monotonic`]: the machine was asleep.
#[must_use]
pub(crate) fn asleep() -> u64 {
    boot().saturating_sub(monotonic())
}

/// The time of day at moments of [`monotonic`], by the offset of when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wall {
    now: SystemTime,
    monotonic: u64,
}

impl Wall {
    /// By the offset of now.
    #[must_use]
    pub(crate) fn now() -> Self {
        Self {
            now: SystemTime::now(),
            monotonic: monotonic(),
        }
    }

    /// The time of day at a moment.
    #[must_use]
    pub(crate) fn at(self, moment: u64) -> SystemTime {
        let ago = self.monotonic.saturating_sub(moment);
        self.now
            .checked_sub(Duration::from_nanos(ago))
            .unwrap_or(UNIX_EPOCH)
    }
}
