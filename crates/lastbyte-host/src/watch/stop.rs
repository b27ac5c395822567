//! When to stop watching: a time, a process's end, or a signal.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::source::{check, doing};

static SIGNALLED: AtomicBool = AtomicBool::new(false);

/// When to stop.
#[derive(Debug, Default)]
pub struct Stop {
    at: Option<Instant>,
    process: Option<OwnedFd>,
}

impl Stop {
    /// Stops when a time has passed.
    #[must_use]
    pub fn after(mut self, time: Option<Duration>) -> Self {
        self.at = time.and_then(|time| Instant::now().checked_add(time));
        self
    }

    /// Stops when a process has ended.
    ///
    /// # Errors
    ///
    /// There is no such process (`ESRCH`), or the kernel is older than 5.3.
    pub fn at_exit_of(mut self, pid: Option<u32>) -> io::Result<Self> {
        let Some(pid) = pid else { return Ok(self) };
        // SAFETY: plain system call; the result is checked.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = check(libc::c_int::try_from(fd).map_err(io::Error::other)?)
            .map_err(doing(format!("cannot wait for process {pid}")))?;
        // SAFETY: the descriptor was just made and nobody else has it.
        self.process = Some(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(self)
    }

    /// Stops at SIGINT, SIGTERM and SIGHUP too, for the rest of the process's life;
    /// an ignored SIGHUP (`nohup`) stays ignored.
    ///
    /// # Errors
    ///
    /// None known.
    pub fn at_signals(self) -> io::Result<Self> {
        extern "C" fn note(_: libc::c_int) {
            SIGNALLED.store(true, Ordering::Relaxed);
        }
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: a zeroed sigaction is valid, with an empty mask; the handler
            // only stores into an atomic. Without SA_RESTART waits are cut short.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                check(libc::sigaction(signal, std::ptr::null(), &raw mut action))?;
                if signal == libc::SIGHUP && action.sa_sigaction == libc::SIG_IGN {
                    continue;
                }
                action = std::mem::zeroed();
                action.sa_sigaction = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
                check(libc::sigaction(
                    signal,
                    &raw const action,
                    std::ptr::null_mut(),
                ))?;
            }
        }
        Ok(self)
    }

    /// Whether to stop now.
    #[must_use]
    pub fn now(&self) -> bool {
        SIGNALLED.load(Ordering::Relaxed)
            || self.at.is_some_and(|at| Instant::now() >= at)
            || self.process.as_ref().is_some_and(has_ended)
    }

    /// How long to wait at most before asking again.
    #[must_use]
    pub fn wait(&self) -> Duration {
        const STEP: Duration = Duration::from_millis(100);
        self.at.map_or(STEP, |at| {
            STEP.min(at.saturating_duration_since(Instant::now()))
        })
    }
}

fn has_ended(process: &OwnedFd) -> bool {
    let mut fd = libc::pollfd {
        fd: process.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `fd` is one pollfd; the wait is zero.
    unsafe { libc::poll(&raw mut fd, 1, 0) > 0 }
}
