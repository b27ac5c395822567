//! The closer of the process for closes that nobody waits for.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::job::Job;
use super::{Closer, Sink};
use crate::contain::contain;
use crate::driver::Driver;
use crate::error::CloseError;
use crate::hook;
use crate::sums::Sums;
use crate::sys::{Leaked, code};

/// Stands for the one closer that this process has for closes nobody waits for.
///
/// It takes over closes with [`Linger::Off`], dropped
/// [`Closing`] handles, and connections whose peer goes on sending after the
/// report. Its one thread starts with the first of them. It holds at most
/// [`LIMIT`](Background::LIMIT) connections; at the limit a close with
/// [`Linger::Off`] fails with `EAGAIN` and gives its socket back.
///
/// # At exit
/// The thread ends with the process, and then the kernel alone decides: what is
/// queued is still delivered, unless input arrives or is left unread, which
/// makes it reset the connection. A program that must not lose that either waits
/// at its end:
///
/// ```
/// use std::time::Duration;
/// if !lastbyte::background().wait(Duration::from_secs(10)) {
///     eprintln!("{} connections still closing", lastbyte::background().in_flight());
/// }
/// ```
///
/// That waits also for connections whose bytes have all arrived, and that are held only
/// because their peers may still be sending. Where the peers need not be waited for,
/// [`wait_delivered`](Background::wait_delivered) returns as soon as every fate is known.
///
/// # After fork
/// A child has no threads of its parent's; it gets a background closer of its
/// own with its first close. No lock is held across the fork.
///
/// [`Linger::Off`]: crate::Linger::Off
/// [`Closing`]: crate::Closing
#[derive(Clone, Copy, Debug)]
pub struct Background(());

/// Returns the background closer of this process, to wait for it or to count what it has
/// in hand.
#[must_use]
#[doc(alias("flush", "at exit", "atexit"))]
pub const fn background() -> Background {
    Background(())
}

impl Background {
    /// The most connections that it holds.
    pub const LIMIT: usize = 16_384;

    /// Returns the number of connections that are still closing, or held for late input.
    #[must_use]
    pub fn in_flight(self) -> usize {
        running().map_or(0, Closer::in_flight)
    }

    /// Returns the number of connections whose fate is not known yet.
    #[must_use]
    pub fn undelivered(self) -> usize {
        running().map_or(0, |closer| closer.shared.account.unreported())
    }

    /// Waits up to `time` until no connection is in flight. Returns `false` on timeout.
    ///
    /// A connection stays in flight until its peer has closed too, or the time is over
    /// for which late input is discarded ([`Policy::with_drain_time`](crate::Policy::with_drain_time),
    /// 10 s unless set).
    ///
    /// # Blocking
    /// Blocks the calling thread up to `time`; in async code, call it from a thread that
    /// may block.
    #[must_use = "`false` says that connections are still closing"]
    pub fn wait(self, time: Duration) -> bool {
        running().is_none_or(|closer| closer.wait_idle(time))
    }

    /// Waits up to `time` until the fate of every connection is known. Returns `false` on
    /// timeout.
    ///
    /// What is delivered then has been acknowledged by the peer's TCP. If the process
    /// ends, a peer that still sends is answered with an RST; where that discards what
    /// its program has not read yet (not on Linux), [`wait`](Self::wait) is safer.
    ///
    /// # Blocking
    /// Blocks the calling thread up to `time`, as [`wait`](Self::wait) does.
    #[must_use = "`false` says that fates are still unknown"]
    pub fn wait_delivered(self, time: Duration) -> bool {
        running().is_none_or(|closer| closer.wait_reported(time))
    }

    /// Returns the sums of the connections that have ended, of those that were left to the
    /// background before their fate was known.
    #[must_use]
    pub fn sums(self) -> Sums {
        let mut sums = running().map_or_else(Sums::default, Closer::sums);
        for _ in 0..RELEASED.load(Ordering::Relaxed) {
            sums.add_unseen();
        }
        sums
    }
}

/// Replaced in a child, and where its thread has failed.
static RUNNING: Leaked<Closer> = Leaked::none();

/// Endings left to the kernel, because there was no closer to be had.
static RELEASED: AtomicU64 = AtomicU64::new(0);

/// A background closer that runs, so that a close that is started can be left to it.
pub(crate) struct Handle(&'static Closer);

impl Handle {
    /// Leaves an ending to the background.
    pub(crate) fn adopt(self, driver: Driver) {
        self.adopt_and_report(driver, None);
    }

    fn adopt_and_report(self, driver: Driver, sink: Option<Sink>) {
        if let Err(Job::Adopt(driver, sink)) = self.0.shared.adopt(driver, sink) {
            release(driver, sink, io::Error::from_raw_os_error(code::EAGAIN));
        }
    }
}

/// Returns the background closer, and starts it if it does not run.
///
/// # Errors
/// It cannot be started, or is full.
pub(crate) fn get() -> io::Result<Handle> {
    let closer = start()?;
    if closer.in_flight() >= Background::LIMIT {
        return Err(io::Error::from_raw_os_error(code::EAGAIN));
    }
    Ok(Handle(closer))
}

/// Leaves an ending to the background; where there is none to be had, to the
/// kernel.
pub(crate) fn adopt_or_release(driver: Driver) {
    adopt_and_report(driver, None);
}

/// As [`adopt_or_release`]; `sink` is given what became of an ending that was not
/// reported yet.
pub(crate) fn adopt_and_report(driver: Driver, sink: Option<Sink>) {
    match start() {
        Ok(closer) => Handle(closer).adopt_and_report(driver, sink),
        Err(error) => release(driver, sink, error),
    }
}

/// Leaves an ending to the kernel, and reports that its fate is unseen.
fn release(mut driver: Driver, sink: Option<Sink>, error: io::Error) {
    let reported = driver.is_holding();
    let connection = driver.connection();
    driver.release();
    if reported {
        return;
    }
    RELEASED.fetch_add(1, Ordering::Relaxed);
    let result = Err(CloseError::lost_sight(error));
    hook::publish_unseen(connection, &result);
    if let Some(sink) = sink {
        contain(|| drop(sink(result)));
    }
}

/// Has the background closer close some of the connections that are held only for late
/// input, quiet peers' first. Returns `false` if there are none.
#[cfg(feature = "tokio")]
pub(crate) fn give_up_held() -> bool {
    let Some(closer) = running().filter(|closer| closer.shared.held() > 0) else {
        return false;
    };
    closer.shared.give_up_held();
    true
}

fn start() -> io::Result<&'static Closer> {
    loop {
        let before = RUNNING.get();
        if let Some(closer) = before.filter(|closer| closer.has_thread().is_ok()) {
            return Ok(closer);
        }
        let closer = Closer::builder()
            .limit(Background::LIMIT)
            .thread_name("lastbyte-bg")
            .build()?;
        // Where another thread was quicker, its closer is taken, and this one's thread
        // ends. What was there before is the parent's, after a fork: its thread is not
        // here.
        if let Ok(closer) = RUNNING.replace(before, Box::new(closer)) {
            return Ok(closer);
        }
    }
}

fn running() -> Option<&'static Closer> {
    RUNNING.get().filter(|closer| !closer.is_forked())
}
