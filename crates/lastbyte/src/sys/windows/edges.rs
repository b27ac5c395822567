//! Waiting for connections: WSAPoll for input and errors, and a look at all of them each
//! [`TICK`], because nothing shows a FIN's acknowledgement.

use std::io;
use std::os::windows::io::AsRawSocket;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use windows_sys::Win32::Networking::WinSock::{POLLRDNORM, SOCKET, WSAPOLLFD, WSAPoll};

use super::super::{Look, Readiness};
use super::TICK;
use super::socket::BorrowedSocket;

pub(crate) struct Edges(Mutex<Watches>);

struct Watches {
    all: Vec<Watch>,
    next_tick: Instant,
}

struct Watch {
    socket: SOCKET,
    token: u64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A timer or a waker, watched for as long as it is readable.
    Bell,
    /// A connection that nothing was reported of since the last tick.
    Connection,
    /// One that was reported, and is not polled before the next tick: what it has may not be
    /// read, and would be reported again and again.
    Reported,
}

/// Who is to be looked at.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    token: u64,
    look: Look,
}

impl Event {
    pub(crate) const NONE: Self = Self {
        token: 0,
        look: Look::Queue,
    };

    /// No watch ends with an event.
    pub(crate) fn spent(&self) -> bool {
        false
    }

    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    pub(crate) fn look(&self) -> Look {
        self.look
    }
}

impl Edges {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "other platforms need a descriptor"
    )]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Mutex::new(Watches {
            all: Vec::new(),
            next_tick: Instant::now() + TICK,
        })))
    }

    /// Watches a connection.
    #[expect(clippy::unnecessary_wraps, reason = "other platforms may refuse")]
    pub(crate) fn add(&self, socket: BorrowedSocket<'_>, token: u64) -> io::Result<()> {
        self.watch(socket, token, Kind::Connection);
        Ok(())
    }

    /// Watches a timer or waker for as long as it is readable.
    #[expect(clippy::unnecessary_wraps, reason = "other platforms may refuse")]
    pub(crate) fn add_readable(&self, socket: BorrowedSocket<'_>, token: u64) -> io::Result<()> {
        self.watch(socket, token, Kind::Bell);
        Ok(())
    }

    fn watch(&self, socket: BorrowedSocket<'_>, token: u64, kind: Kind) {
        self.lock().all.push(Watch {
            socket: socket.as_raw_socket() as SOCKET,
            token,
            kind,
        });
    }

    /// Forgets a connection whose socket lives on.
    #[expect(clippy::unnecessary_wraps, reason = "other platforms may refuse")]
    pub(crate) fn remove(&self, socket: BorrowedSocket<'_>) -> io::Result<()> {
        let socket = socket.as_raw_socket() as SOCKET;
        self.lock().all.retain(|watch| watch.socket != socket);
        Ok(())
    }

    /// Waits for events, `timeout` at most.
    pub(crate) fn wait<'a>(
        &self,
        events: &'a mut [Event],
        timeout: Option<Duration>,
    ) -> io::Result<&'a [Event]> {
        let mut found = Vec::new();
        self.wait_for(&mut found, timeout)?;
        let n = found.len().min(events.len());
        events[..n].copy_from_slice(&found[..n]);
        Ok(&events[..n])
    }

    fn wait_for(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let until = timeout.and_then(|time| Instant::now().checked_add(time));
        loop {
            let mut watches = self.lock();
            let now = Instant::now();
            let next = until.map_or(watches.next_tick, |until| until.min(watches.next_tick));
            watches.poll(events, next.saturating_duration_since(now))?;
            watches.tick(events);
            let over = until.is_some_and(|until| until <= Instant::now());
            if over || !events.is_empty() {
                return Ok(());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watches {
    /// What is readable or broken, within `time`.
    fn poll(&mut self, events: &mut Vec<Event>, time: Duration) -> io::Result<()> {
        let polled: Vec<usize> = (0..self.all.len())
            .filter(|&at| self.all[at].kind != Kind::Reported)
            .collect();
        if polled.is_empty() {
            thread::sleep(time);
            return Ok(());
        }
        let mut fds: Vec<WSAPOLLFD> = polled
            .iter()
            .map(|&at| WSAPOLLFD {
                fd: self.all[at].socket,
                events: POLLRDNORM,
                revents: 0,
            })
            .collect();
        // Rounded up, so that a deadline has passed when the wait is over.
        let millis = i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        // SAFETY: as many live entries as are passed.
        let n = unsafe { WSAPoll(fds.as_mut_ptr(), fds.len() as u32, millis) };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        for (&at, fd) in polled.iter().zip(&fds) {
            if fd.revents != 0 {
                let watch = &mut self.all[at];
                if watch.kind == Kind::Connection {
                    watch.kind = Kind::Reported;
                }
                events.push(Event {
                    token: watch.token,
                    look: Look::Full,
                });
            }
        }
        Ok(())
    }

    /// Reports every connection, each [`TICK`].
    fn tick(&mut self, events: &mut Vec<Event>) {
        let now = Instant::now();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        let polled = events.len();
        for watch in &mut self.all {
            let is_new = match watch.kind {
                Kind::Bell => false,
                Kind::Reported => !events[..polled].iter().any(|e| e.token == watch.token),
                Kind::Connection => true,
            };
            if watch.kind == Kind::Reported {
                watch.kind = Kind::Connection;
            }
            if is_new {
                events.push(Event {
                    token: watch.token,
                    look: Look::Full,
                });
            }
        }
    }
}

impl Readiness for Edges {
    fn add(&mut self, socket: BorrowedSocket<'_>, token: u64) -> io::Result<()> {
        Edges::add(self, socket, token)
    }

    fn add_readable(&mut self, socket: BorrowedSocket<'_>, token: u64) -> io::Result<()> {
        Edges::add_readable(self, socket, token)
    }

    fn forget(&mut self, token: u64) {
        self.lock().all.retain(|watch| watch.token != token);
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.wait_for(events, timeout)
    }
}
