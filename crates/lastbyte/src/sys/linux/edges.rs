//! Edge-triggered epoll: the only readiness that shows a FIN's acknowledgement.
//!
//! After shutdown(SHUT_WR) a socket is writable for good, so a level-triggered
//! wait sees nothing; but the arrival of the FIN's ACK wakes the socket
//! (`tcp_rcv_state_process`, net/ipv4/tcp_input.c, `sk_state_change`), and an
//! edge-triggered EPOLLOUT reports each wake-up.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libc::c_int;

use super::super::{Look, Readiness};

/// An epoll instance.
pub(crate) struct Edges(OwnedFd);

impl Readiness for Edges {
    fn add(&mut self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        Edges::add(self, socket, token)
    }

    fn add_readable(&mut self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        Edges::add_readable(self, fd, token)
    }

    /// epoll forgets a descriptor with its last close.
    fn forget(&mut self, _token: u64) {}

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        const BATCH: usize = 256;
        events.resize(BATCH, Event::NONE);
        let fired = Edges::wait(self, events, timeout)?.len();
        events.truncate(fired);
        Ok(())
    }
}

/// What happened, to whom.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Event(libc::epoll_event);

/// No poll flag, on no system: the watch itself has ended.
const SPENT: u32 = 1 << 26;

impl Event {
    #[cfg(feature = "io-uring")]
    pub(super) fn from_poll(token: u64, mask: u32, spent: bool) -> Self {
        Self(libc::epoll_event {
            events: (mask & !SPENT) | if spent { SPENT } else { 0 },
            u64: token,
        })
    }

    /// Returns whether the watch has ended with this event and must be set anew.
    pub(crate) fn spent(&self) -> bool {
        self.0.events & SPENT != 0
    }

    pub(crate) const NONE: Self = Self(libc::epoll_event { events: 0, u64: 0 });

    /// The token given to [`Edges::add`].
    pub(crate) fn token(&self) -> u64 {
        self.0.u64
    }

    /// How closely to look at the connection. An event shows all that holds at
    /// its time, not only the edge.
    pub(crate) fn look(&self) -> Look {
        let any = |flags: i32| self.0.events & flags as u32 != 0;
        if any(libc::EPOLLERR) {
            Look::Full
        } else if any(libc::EPOLLHUP) {
            Look::HangUp
        } else if any(libc::EPOLLIN | libc::EPOLLRDHUP) {
            Look::Input
        } else {
            Look::Queue
        }
    }
}

impl Edges {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just created, and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches a connection's edges.
    pub(crate) fn add(&self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let events = libc::EPOLLET | libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP;
        self.control(libc::EPOLL_CTL_ADD, socket, events, token)
    }

    /// Watches a timer or waker for as long as it is readable.
    pub(crate) fn add_readable(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN, token)
    }

    /// Forgets a connection whose descriptor lives on.
    pub(crate) fn remove(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, socket, 0, 0)
    }

    /// Waits for events, `timeout` at most. A signal ends the wait early with
    /// none: callers look at their clocks in any case.
    pub(crate) fn wait<'a>(
        &self,
        events: &'a mut [Event],
        timeout: Option<Duration>,
    ) -> io::Result<&'a [Event]> {
        let n = loop {
            let n = if COARSE.load(Ordering::Relaxed) {
                self.wait_coarse(events, timeout)
            } else {
                self.wait_fine(events, timeout)
            };
            if n >= 0 {
                break n as usize;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => break 0,
                // Linux before 5.11, or a sandbox that does not know the call.
                Some(libc::ENOSYS | libc::EPERM) if !COARSE.load(Ordering::Relaxed) => {
                    COARSE.store(true, Ordering::Relaxed);
                }
                _ => return Err(error),
            }
        };
        Ok(&events[..n])
    }

    fn wait_fine(&self, events: &mut [Event], timeout: Option<Duration>) -> c_int {
        let timeout = timeout.map(|time| libc::timespec {
            // As long as any platform's time_t holds: 68 years.
            tv_sec: time.as_secs().min(i32::MAX as u64) as _,
            tv_nsec: time.subsec_nanos() as libc::c_long,
        });
        // SAFETY: `events` has room for as many as are asked for and `Event` is
        // an epoll_event; the timespec outlives the call; no signal mask.
        unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                c_int::try_from(events.len()).unwrap_or(c_int::MAX),
                timeout
                    .as_ref()
                    .map_or(std::ptr::null(), std::ptr::from_ref),
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            ) as c_int
        }
    }

    fn wait_coarse(&self, events: &mut [Event], timeout: Option<Duration>) -> c_int {
        // Rounded up, so that a deadline has passed when the wait is over.
        let millis = timeout.map_or(-1, |time| {
            c_int::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
        });
        // SAFETY: `events` has room for as many as are asked for, and `Event` is
        // an epoll_event.
        unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr().cast(),
                c_int::try_from(events.len()).unwrap_or(c_int::MAX),
                millis,
            )
        }
    }

    fn control(&self, op: c_int, fd: BorrowedFd<'_>, events: c_int, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: token,
        };
        // SAFETY: `event` is read during the call only.
        let rc = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), op, fd.as_raw_fd(), &mut event) };
        if rc == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl AsFd for Edges {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(feature = "tokio")]
impl AsRawFd for Edges {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

/// Whether only millisecond waits are to be had.
static COARSE: AtomicBool = AtomicBool::new(false);
