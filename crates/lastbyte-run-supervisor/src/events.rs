//! Waiting for descriptors, each with a name (epoll(7)).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::channel::check;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Signals,
    Waker,
    Channel,
    /// The kernel's notices of sockets' ends.
    Notices,
    /// The end of a process.
    Process(libc::pid_t),
}

const SIGNALS: u64 = u64::MAX;
const WAKER: u64 = u64::MAX - 1;
const CHANNEL: u64 = u64::MAX - 2;
const NOTICES: u64 = u64::MAX - 3;

impl Source {
    fn token(self) -> u64 {
        match self {
            Source::Signals => SIGNALS,
            Source::Waker => WAKER,
            Source::Channel => CHANNEL,
            Source::Notices => NOTICES,
            Source::Process(pid) => u64::from(pid.unsigned_abs()),
        }
    }

    fn from_token(token: u64) -> Option<Self> {
        match token {
            SIGNALS => Some(Source::Signals),
            WAKER => Some(Source::Waker),
            CHANNEL => Some(Source::Channel),
            NOTICES => Some(Source::Notices),
            pid => libc::pid_t::try_from(pid).ok().map(Source::Process),
        }
    }
}

pub(crate) struct Events(OwnedFd);

impl Events {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no memory involved.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: just made.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn add(&self, fd: RawFd, source: Source) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: source.token(),
        };
        // SAFETY: the event outlives the call.
        check(unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
        })
        .map(drop)
    }

    pub(crate) fn remove(&self, fd: RawFd) {
        let nothing = std::ptr::null_mut();
        // SAFETY: the event is not read.
        unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, nothing) };
    }

    /// What has happened; nothing after `time`.
    pub(crate) fn wait(&self, time: Option<Duration>) -> Vec<Source> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let time = time.map_or(-1, |time| {
            i32::try_from(time.as_millis().saturating_add(1)).unwrap_or(i32::MAX)
        });
        // SAFETY: room for as many events as said.
        let count = unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as libc::c_int,
                time,
            )
        };
        events
            .iter()
            .take(usize::try_from(count).unwrap_or(0))
            .filter_map(|event| Source::from_token(event.u64))
            .collect()
    }
}
