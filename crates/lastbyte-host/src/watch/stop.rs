//! What ends a watch: a time, a process's end, or a signal.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::Timespec;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::source::{check, doing};

/// Decides when a watch stops: never, unless one of its conditions is set.
#[derive(Debug, Default)]
pub struct Stop {
    at: Option<Instant>,
    process: Option<OwnedFd>,
    /// Set by a signal.
    signalled: Option<Arc<AtomicBool>>,
}

impl Stop {
    /// Stops once this time has passed; `None` sets no limit.
    #[must_use]
    pub fn after(mut self, time: Option<Duration>) -> Self {
        self.at = time.and_then(|time| Instant::now().checked_add(time));
        self
    }

    /// Stops once a process has ended; `None` sets no limit.
    ///
    /// # Errors
    ///
    /// There is no such process (`ESRCH`), or the kernel is older than 5.3.
    pub fn at_exit_of(mut self, pid: Option<u32>) -> io::Result<Self> {
        let Some(pid) = pid else { return Ok(self) };
        let process = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(Errno::SRCH);
        let opened = process.and_then(|process| pidfd_open(process, PidfdFlags::empty()));
        let cannot = doing(format!("cannot wait for process {pid}"));
        self.process = Some(opened.map_err(io::Error::from).map_err(cannot)?);
        Ok(self)
    }

    /// Stops at SIGINT, SIGTERM and SIGHUP too, for the rest of the process's life;
    /// an ignored SIGHUP (`nohup`) stays ignored.
    ///
    /// # Errors
    ///
    /// A signal cannot be handled.
    pub fn at_signals(mut self) -> io::Result<Self> {
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if signal == SIGHUP && is_ignored(signal)? {
                continue;
            }
            signal_hook::flag::register(signal, Arc::clone(&signalled))?;
        }
        self.signalled = Some(signalled);
        Ok(self)
    }

    /// Returns whether to stop now.
    #[must_use]
    pub fn now(&self) -> bool {
        let signalled = self.signalled.as_ref();
        signalled.is_some_and(|signalled| signalled.load(Ordering::Relaxed))
            || self.at.is_some_and(|at| Instant::now() >= at)
            || self.process.as_ref().is_some_and(has_ended)
    }

    /// Returns for how long to wait, at most, before asking [`now`](Self::now) again.
    #[must_use]
    pub fn wait(&self) -> Duration {
        const STEP: Duration = Duration::from_millis(100);
        self.at.map_or(STEP, |at| {
            STEP.min(at.saturating_duration_since(Instant::now()))
        })
    }
}

/// Whether this process has been told to ignore a signal.
fn is_ignored(signal: libc::c_int) -> io::Result<bool> {
    // SAFETY: a zeroed sigaction is a valid one to write over; with no new action this
    // only asks.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        check(libc::sigaction(signal, std::ptr::null(), &raw mut action))?;
        action
    };
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

fn has_ended(process: &OwnedFd) -> bool {
    let mut fd = [PollFd::new(process, PollFlags::IN)];
    poll(&mut fd, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
