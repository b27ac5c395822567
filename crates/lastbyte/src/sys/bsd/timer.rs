//! A descriptor that becomes readable at a time: a kqueue with one timer (kqueue(2),
//! EVFILT_TIMER).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::TICK;
use super::edges::{change, kqueue};

pub(crate) struct Timer(OwnedFd);

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(kqueue()?))
    }

    /// Readable once `after` has passed, and after [`TICK`] at the latest: nothing else shows that
    /// a connection is to be looked at. What was set before no longer counts.
    pub(crate) fn set(&self, after: Option<Duration>) {
        let after = after.map_or(TICK, |time| time.min(TICK));
        // Milliseconds, which all of these systems have without a flag; rounded up. 0 is taken
        // for 1 on some of them.
        let millis = after.as_nanos().div_ceil(1_000_000).max(1);
        // One that has fired stays pending until it is deleted.
        let _ = change(
            self.0.as_fd(),
            1,
            libc::EVFILT_TIMER as _,
            libc::EV_DELETE as _,
            0,
            0,
        );
        let flags = libc::EV_ADD | libc::EV_ONESHOT;
        // Without memory it never fires, and the close ends at the program's next look.
        let _ = change(
            self.0.as_fd(),
            1,
            libc::EVFILT_TIMER as _,
            flags as _,
            millis as i64,
            0,
        );
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
