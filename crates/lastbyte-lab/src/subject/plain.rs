//! Plain close(2) with SO_LINGER, as programs have always done it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use lastbyte::{Errno, Linger, Policy};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::{Child, Subject, Told};
use crate::harness::Stamp;

/// setsockopt(SO_LINGER), then close(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Subject for Plain {
    fn name(&self) -> &'static str {
        "close(2)"
    }

    fn reports(&self) -> bool {
        false
    }

    fn option(&self, socket: BorrowedFd<'_>) -> io::Result<Linger> {
        let raw = getsockopt(&socket, sockopt::Linger)?;
        Ok(match (raw.l_onoff, raw.l_linger) {
            (0, _) => Linger::Off,
            (_, 0) => Linger::Abort,
            (_, l_linger) => match u64::try_from(l_linger) {
                Ok(seconds) => Linger::Wait(Duration::from_secs(seconds)),
                Err(_) => Linger::Endless { l_linger },
            },
        })
    }

    /// Whole seconds, the fraction cut off, the rest cut to an int: what the
    /// common wrappers do.
    fn set_option(&self, socket: BorrowedFd<'_>, linger: Linger) -> io::Result<()> {
        let (l_onoff, l_linger) = match linger {
            Linger::Abort => (1, 0),
            Linger::Wait(time) => (1, time.as_secs() as libc::c_int),
            Linger::Endless { l_linger } => (1, l_linger),
            _ => (0, 0),
        };
        Ok(setsockopt(
            &socket,
            sockopt::Linger,
            &libc::linger { l_onoff, l_linger },
        )?)
    }

    fn close(&self, socket: OwnedFd, policy: Policy) -> Told {
        let called = Stamp::now();
        let set = self.set_option(socket.as_fd(), policy.linger());
        // SAFETY: the descriptor was ours, is given up here and not used again.
        let closed = unsafe { libc::close(socket.into_raw_fd()) };
        let error = match (set, closed) {
            (Err(error), _) => Some(error),
            (_, 0) => None,
            (..) => Some(io::Error::last_os_error()),
        };
        Told {
            called,
            returned: Stamp::now(),
            error: error.map(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))),
            account: None,
            handle: None,
            starved: 0.0,
        }
    }

    fn begin(&self, socket: OwnedFd, policy: Policy) -> Told {
        self.close(socket, policy)
    }

    /// One after the other: close(2) offers nothing else to one thread.
    fn close_many(&self, work: Vec<(OwnedFd, Policy)>, limit: Duration) -> Vec<Option<Told>> {
        let begun = Stamp::now();
        work.into_iter()
            .map(|(socket, policy)| (begun.elapsed() < limit).then(|| self.close(socket, policy)))
            .collect()
    }

    fn child(&self) -> Child {
        Child::Plain
    }
}
