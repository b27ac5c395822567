//! Waiting for connections: kqueue(2) for input and errors, and a look at all of them each
//! [`TICK`], because nothing shows a FIN's acknowledgement.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::{Look, Readiness};
use super::TICK;

/// Events taken at once.
const BATCH: usize = 256;

pub(crate) struct Edges {
    kqueue: OwnedFd,
    watches: Mutex<Watches>,
}

struct Watches {
    connections: HashMap<u64, RawFd>,
    next_tick: Instant,
}

/// Who is to be looked at. Every look is a full one.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    token: u64,
}

impl Event {
    pub(crate) const NONE: Self = Self { token: 0 };

    /// No watch ends with an event.
    pub(crate) fn spent(&self) -> bool {
        false
    }

    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    pub(crate) fn look(&self) -> Look {
        Look::Full
    }
}

pub(super) fn kqueue() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::kqueue() };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just created, and owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: F_SETFD takes no pointer. A kqueue is not inherited by fork, but it is by exec.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    Ok(fd)
}

/// One change to a kqueue. `filter` and `flags` have different types on these systems, all of
/// which hold what is passed here.
pub(super) fn change(
    kqueue: BorrowedFd<'_>,
    ident: usize,
    filter: i32,
    flags: u32,
    data: i64,
    token: u64,
) -> io::Result<()> {
    // SAFETY: integers and a pointer, for which all zero is a value.
    let mut event: libc::kevent = unsafe { std::mem::zeroed() };
    event.ident = ident as _;
    event.filter = filter as _;
    event.flags = flags as _;
    event.data = data as _;
    // A number, never followed.
    event.udata = ptr::without_provenance_mut(token as usize);
    // SAFETY: one live change is read, and no event is asked for.
    let rc = unsafe {
        libc::kevent(
            kqueue.as_raw_fd(),
            &raw const event,
            1,
            ptr::null_mut(),
            0,
            ptr::null(),
        )
    };
    if rc == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Edges {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            kqueue: kqueue()?,
            watches: Mutex::new(Watches {
                connections: HashMap::new(),
                next_tick: Instant::now() + TICK,
            }),
        })
    }

    /// Watches a connection.
    pub(crate) fn add(&self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.read(socket, libc::EV_ADD as u32 | libc::EV_CLEAR as u32, token)?;
        self.lock().connections.insert(token, socket.as_raw_fd());
        Ok(())
    }

    /// Watches a timer or waker for as long as it is readable.
    pub(crate) fn add_readable(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.read(fd, libc::EV_ADD as u32, token)
    }

    /// Forgets a connection whose descriptor lives on.
    pub(crate) fn remove(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let raw = socket.as_raw_fd();
        self.lock().connections.retain(|_, fd| *fd != raw);
        self.read(socket, libc::EV_DELETE as u32, 0)
    }

    fn read(&self, fd: BorrowedFd<'_>, flags: u32, token: u64) -> io::Result<()> {
        let filter = libc::EVFILT_READ as i32;
        change(
            self.kqueue.as_fd(),
            fd.as_raw_fd() as usize,
            filter,
            flags,
            0,
            token,
        )
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
            // Without a connection nothing needs a tick.
            let tick = {
                let watches = self.lock();
                (!watches.connections.is_empty()).then_some(watches.next_tick)
            };
            let next = until.into_iter().chain(tick).min();
            let time = next.map(|next| next.saturating_duration_since(Instant::now()));
            self.take(events, time)?;
            self.tick(events);
            let over = until.is_some_and(|until| until <= Instant::now());
            if over || !events.is_empty() {
                return Ok(());
            }
        }
    }

    /// What kqueue has, within `time`. A signal ends the wait early with none.
    fn take(&self, events: &mut Vec<Event>, time: Option<Duration>) -> io::Result<()> {
        // SAFETY: integers and a pointer, for which all zero is a value.
        let mut taken: [libc::kevent; BATCH] = unsafe { std::mem::zeroed() };
        let time = time.map(|time| libc::timespec {
            tv_sec: time.as_secs().min(i32::MAX as u64) as _,
            tv_nsec: time.subsec_nanos() as _,
        });
        // SAFETY: `taken` has room for as many as are asked for; the timespec outlives the call.
        let n = unsafe {
            libc::kevent(
                self.kqueue.as_raw_fd(),
                ptr::null(),
                0,
                taken.as_mut_ptr(),
                BATCH as _,
                time.as_ref().map_or(ptr::null(), ptr::from_ref),
            )
        };
        let Ok(n) = usize::try_from(n) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EINTR) => Ok(()),
                _ => Err(error),
            };
        };
        events.extend(taken[..n].iter().map(|event| Event {
            token: event.udata as usize as u64,
        }));
        Ok(())
    }

    /// Reports every connection, each [`TICK`].
    fn tick(&self, events: &mut Vec<Event>) {
        let mut watches = self.lock();
        let now = Instant::now();
        if now < watches.next_tick {
            return;
        }
        watches.next_tick = now + TICK;
        let polled = events.len();
        for token in watches.connections.keys() {
            if !events[..polled].iter().any(|event| event.token == *token) {
                events.push(Event { token: *token });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readiness for Edges {
    fn add(&mut self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        Edges::add(self, socket, token)
    }

    fn add_readable(&mut self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        Edges::add_readable(self, fd, token)
    }

    /// kqueue forgets a descriptor that is closed by itself.
    fn forget(&mut self, token: u64) {
        self.lock().connections.remove(&token);
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.wait_for(events, timeout)
    }
}

impl AsFd for Edges {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kqueue.as_fd()
    }
}
