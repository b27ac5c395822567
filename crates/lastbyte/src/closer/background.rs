//! The one closer that a process has for closes nobody waits for.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Closer;
use super::inbox::Job;
use crate::live::Live;

/// The background closer of this process.
///
/// It takes over what nobody waits for: closes with [`Linger::Off`], dropped
/// [`Closing`] handles, and connections whose peer goes on sending after the
/// report. Its one thread starts with the first of them. It holds at most
/// [`LIMIT`](Background::LIMIT) connections; at the limit a close with
/// [`Linger::Off`] answers `EAGAIN` and gives its socket back.
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
/// # After fork
/// A child has no threads of its parent's; it gets a background closer of its
/// own with its first close.
///
/// [`Linger::Off`]: crate::Linger::Off
/// [`Closing`]: crate::Closing
#[derive(Clone, Copy, Debug)]
pub struct Background(());

/// The background closer of this process.
#[must_use]
pub const fn background() -> Background {
    Background(())
}

impl Background {
    /// Connections held at most.
    pub const LIMIT: usize = 16_384;

    /// Connections that are still closing.
    #[must_use]
    pub fn in_flight(self) -> usize {
        running().map_or(0, |closer| closer.in_flight())
    }

    /// Waits until none is closing any more, `time` at most. Whether that came.
    #[must_use]
    pub fn wait(self, time: Duration) -> bool {
        running().is_none_or(|closer| closer.wait_idle(time))
    }
}

static CLOSER: Mutex<Option<Running>> = Mutex::new(None);

struct Running {
    pid: u32,
    closer: Arc<Closer>,
}

/// A place with the background closer, so that what is started can be left to it.
pub(crate) struct Seat(Arc<Closer>);

impl Seat {
    /// Leaves an ending to the background.
    pub(crate) fn adopt(self, live: Live) {
        if let Err(Job::Adopt(mut live)) = self.0.inbox.submit_begun(Job::Adopt(live)) {
            live.release();
        }
    }
}

/// The background closer, started if need be.
///
/// # Errors
/// It cannot be started, or is full.
pub(crate) fn get() -> io::Result<Seat> {
    let closer = start()?;
    if closer.in_flight() >= Background::LIMIT {
        return Err(io::Error::from_raw_os_error(libc::EAGAIN));
    }
    Ok(Seat(closer))
}

/// Leaves an ending to the background; where there is none to be had, to the
/// kernel.
pub(crate) fn adopt_or_release(mut live: Live) {
    match start() {
        Ok(closer) => Seat(closer).adopt(live),
        Err(_) => live.release(),
    }
}

fn start() -> io::Result<Arc<Closer>> {
    let mut slot = CLOSER.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    if let Some(running) = slot.as_ref().filter(|running| running.pid == pid) {
        return Ok(Arc::clone(&running.closer));
    }
    let closer = Closer::builder()
        .limit(Background::LIMIT)
        .thread_name("lastbyte-bg")
        .build()?;
    let closer = Arc::new(closer);
    let before = slot.replace(Running {
        pid,
        closer: Arc::clone(&closer),
    });
    // The parent's, after a fork: its thread is not here, and its memory is only
    // a copy.
    std::mem::forget(before);
    Ok(closer)
}

fn running() -> Option<Arc<Closer>> {
    let slot = CLOSER.lock().unwrap_or_else(PoisonError::into_inner);
    slot.as_ref()
        .filter(|running| running.pid == std::process::id())
        .map(|running| Arc::clone(&running.closer))
}
