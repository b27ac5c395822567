//! `CLOCK_MONOTONIC`, which the tracepoints are stamped with, and its relation
//! to the time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub(crate) fn monotonic() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of `CLOCK_BOOTTIME`: with the time that the machine was suspended.
#[must_use]
pub(crate) fn boot() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec to write to; both clocks always exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    // These clocks start at 0 and a nanosecond part is below 1e9.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// How much of the time since the start is not in [`monotonic`]: the machine was asleep.
#[must_use]
pub(crate) fn asleep() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec to write to; the clock exists since Linux 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    let boot = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs();
    boot.saturating_sub(monotonic())
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
