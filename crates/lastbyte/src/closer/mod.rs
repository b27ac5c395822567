//! Closes thousands of connections on one thread.

mod abort;
mod account;
pub(crate) mod background;
mod block_queue;
mod destroy_notices;
mod drain;
mod event_loop;
mod finish;
mod inbox;
mod input_count;
mod job;
mod slab;
mod sync;
mod timer_wheel;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::driver::Driver;
use crate::error::CloseError;
use crate::linger::Linger;
use crate::policy::Policy;
use crate::report::Report;
use crate::sums::Sums;
use crate::sys::{Edges, OwnedSocket, Waker, code};
use account::Account;
pub use drain::{ConnectionReport, DrainReport, WaitError};
use event_loop::EventLoop;
pub use finish::Finish;
use inbox::{Inbox, Wake};
pub(crate) use input_count::InputCount;
use job::{Begin, Job, Submitted};
use sync::Ordering;

/// What becomes of a result, and who wants the count of discarded input.
pub(crate) type Sink = Box<dyn FnOnce(Result<Report, CloseError>) -> InputCount + Send>;

/// Ends many connections on one thread, each with its own deadline and its own
/// exact report.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::net::{TcpListener, TcpStream};
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use lastbyte::{Closer, Fate, Policy};
///
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// let closer = Closer::new()?;
/// let (send, reports) = mpsc::channel();
/// for _ in 0..10 {
///     let stream = TcpStream::connect(listener.local_addr()?)?;
///     # let (_peer, _) = listener.accept()?;
///     let send = send.clone();
///     closer.close(stream, Policy::wait(Duration::from_secs(5)), move |result| {
///         let _ = send.send(result);
///     })?;
/// }
/// for result in reports.iter().take(10) {
///     assert_eq!(result?.fate, Fate::Delivered);
/// }
/// # Ok(()) }
/// ```
///
/// Dropping a `Closer` gives up nothing: its thread goes on until the endings in
/// flight have reached their fate, and then stops.
///
/// # After fork
/// A child has no thread of its parent's. There [`close`](Self::close) gives the socket
/// back with an error, a wait ends at once, and nothing hangs; a child makes a closer of
/// its own.
pub struct Closer {
    shared: Arc<Shared>,
    backend: CloserBackend,
    /// Whose thread it is.
    pid: u32,
    thread: ThreadId,
}

/// What a closer's handle and its thread share.
struct Shared {
    inbox: Inbox<Waker, Job>,
    account: Account,
    /// Descriptors are needed: some of what is held for late input is to be closed.
    give_up: AtomicBool,
}

impl Wake for Waker {
    fn wake(&self) {
        Waker::wake(self);
    }

    fn reset(&self) {
        Waker::reset(self);
    }
}

/// Builds a [`Closer`] with settings of one's own: see [`Closer::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct CloserBuilder {
    limit: usize,
    name: String,
    backend: Option<CloserBackend>,
}

/// Names the mechanism by which the kernel wakes a [`Closer`] for its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloserBackend {
    /// Edge-triggered epoll (epoll(7)), which every Linux has.
    Epoll,
    /// io_uring's multishot polls (io_uring(7), Linux 6.1), with feature `io-uring` and
    /// where the kernel allows it.
    IoUring,
}

impl CloserBuilder {
    /// Sets how many connections may be in flight: 65 536 unless set. Beyond that
    /// [`Closer::close`] fails with `EAGAIN` and gives the socket back.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Asks for a backend: epoll unless set. Where io_uring is not to be had, the closer
    /// takes epoll; [`Closer::backend`] says which one it took.
    pub fn backend(mut self, backend: CloserBackend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Sets the name of the thread: `lastbyte` unless set. Linux shows its first 15 bytes.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Starts the thread, and returns once it runs.
    ///
    /// # Errors
    /// Those of eventfd(2), epoll_create1(2) and pthread_create(3): no descriptors
    /// (`EMFILE`), no memory, or no thread (`EAGAIN`) to be had.
    pub fn build(self) -> io::Result<Closer> {
        let shared = Arc::new(Shared {
            inbox: Inbox::new(self.limit, Waker::new()?),
            account: Account::default(),
            give_up: AtomicBool::new(false),
        });
        // A ring belongs to the thread that makes it, so the thread says what it
        // came to.
        let (tell, told) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let asked = self.backend;
        let thread = thread::Builder::new()
            .name(self.name)
            .spawn(move || run(theirs, asked, &tell))?;
        let backend = told
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the closer's thread ended at once")))?;
        Ok(Closer {
            shared,
            backend,
            pid: std::process::id(),
            thread: thread.thread().id(),
        })
    }
}

/// The closer's thread.
fn run(
    shared: Arc<Shared>,
    asked: Option<CloserBackend>,
    tell: &mpsc::Sender<io::Result<CloserBackend>>,
) {
    #[cfg(feature = "io-uring")]
    if asked == Some(CloserBackend::IoUring) {
        let ring = crate::sys::Ring::new();
        if let Ok(engine) = ring.and_then(|ring| EventLoop::new(Arc::clone(&shared), ring)) {
            let _ = tell.send(Ok(CloserBackend::IoUring));
            return engine.run();
        }
    }
    #[cfg(not(feature = "io-uring"))]
    let _ = asked;
    match Edges::new().and_then(|edges| EventLoop::new(shared, edges)) {
        Ok(engine) => {
            let _ = tell.send(Ok(CloserBackend::Epoll));
            engine.run();
        }
        Err(error) => {
            let _ = tell.send(Err(error));
        }
    }
}

impl Closer {
    /// Starts a closer with the default settings.
    ///
    /// # Errors
    /// As [`CloserBuilder::build`].
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Returns a builder, for a closer with settings of one's own.
    pub fn builder() -> CloserBuilder {
        CloserBuilder {
            limit: 65_536,
            name: "lastbyte".to_owned(),
            backend: None,
        }
    }

    /// Returns the backend that this closer took.
    #[must_use]
    pub fn backend(&self) -> CloserBackend {
        self.backend
    }

    /// Ends a connection, and calls `then` with what became of it. Does not block.
    ///
    /// `then` runs on the closer's thread and should be quick: the other connections wait
    /// for it.
    ///
    /// Unlike [`close`](crate::close()), off is awaited too: the report comes
    /// when data and FIN are acknowledged. An abort has happened when this returns; its
    /// report comes through `then` as well, which the calling thread runs where a drain
    /// begins at the same moment.
    ///
    /// # Errors
    /// No place: as many connections are in flight as the limit allows, or a drain has
    /// begun (`EAGAIN`). Or there is no thread: it has failed, or is the parent
    /// process's (`ESRCH`). The socket is in the error, untouched. A socket that is no
    /// connection is refused through `then`.
    pub fn close<S, P, F>(&self, socket: S, policy: P, then: F) -> Result<(), CloseError>
    where
        S: Into<OwnedSocket>,
        P: Into<Policy>,
        F: FnOnce(Result<Report, CloseError>) + Send + 'static,
    {
        let sink: Sink = Box::new(|result| {
            then(result);
            InputCount::UNWANTED
        });
        self.submit(socket.into(), policy.into(), sink)
    }

    fn submit(&self, socket: OwnedSocket, policy: Policy, sink: Sink) -> Result<(), CloseError> {
        if let Err(error) = self.has_thread() {
            return Err(CloseError::resources(error.into(), socket));
        }
        let aborts = policy.linger() == Linger::Abort;
        let begin = Begin {
            began: Instant::now(),
            socket: match aborts {
                true => Submitted::untouched(socket),
                false => Submitted::new(socket),
            },
            policy,
            sink,
        };
        let submitted = match aborts {
            true => self.shared.abort(begin),
            false => self.shared.submit(Job::Begin(begin)),
        };
        submitted.map_err(|job| {
            let full = io::Error::from_raw_os_error(code::EAGAIN);
            match job {
                Job::Begin(Begin { socket, .. }) => {
                    CloseError::resources(full, socket.into_untouched())
                }
                Job::Adopt(..) | Job::Aborted(_) => CloseError::lost_sight(full),
            }
        })
    }

    /// Ends everything in flight within `time`, one deadline for all, and returns each
    /// connection's report and the sums: what a deploy wants to know.
    ///
    /// Connections that reach their own end before are reported as they are; the
    /// rest are cut short when the time is over (`timed_out`, what is lost
    /// counted). Callbacks are called as ever, each before the drain returns. What is then
    /// still [in flight](Self::in_flight) is reported, and held for late input. From here on
    /// the closer takes no further connections.
    ///
    /// Every close that was accepted before is in the result: in [`DrainReport::sums`] if it was in
    /// flight, in [`DrainReport::before`] if it had ended. Where two threads drain, or one
    /// drains again, each gets all that ended since the first drain began, and
    /// the earliest deadline counts.
    ///
    /// # Blocking
    /// Blocks the calling thread until everything in flight is reported, which is at most
    /// `time` and what the callbacks take.
    ///
    /// Where there is nobody to wait for (a callback of this closer's, a forked child,
    /// a thread that failed) it returns at once with [`DrainReport::error`]; what is in
    /// flight is counted as `unseen`. A callback's drain still ends everything within
    /// its time; [`sums`](Self::sums) has it later.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    /// use lastbyte::{Closer, Policy};
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// let closer = Closer::new()?;
    /// closer.close(stream, Policy::wait(Duration::from_secs(60)), |_| {})?;
    /// let drained = closer.drain(Duration::from_secs(10));
    /// println!("{} delivered, {:?} bytes lost", drained.sums.delivered, drained.sums.lost);
    /// # Ok(()) }
    /// ```
    #[doc(alias("shutdown", "graceful"))]
    pub fn drain(&self, time: Duration) -> DrainReport {
        let account = &self.shared.account;
        if self.is_forked() {
            return DrainReport::unwaited(
                WaitError::Forked,
                self.in_flight_by_count(),
                Sums::default(),
            );
        }
        let now = Instant::now();
        // Further away than the clock holds is never.
        let until = now
            .checked_add(time)
            .unwrap_or(now + Duration::from_secs(1 << 32));
        account.begin_drain(until);
        self.shared.inbox.no_more();
        match self.can_wait() {
            // What has failed was counted as unseen.
            Err(error @ WaitError::ThreadFailed) => DrainReport {
                error: Some(error),
                ..account.drained()
            },
            Err(error) => DrainReport::unwaited(error, account.unreported(), account.sums()),
            Ok(()) => {
                let drained = account.drained();
                let error = account.has_failed().then_some(WaitError::ThreadFailed);
                DrainReport { error, ..drained }
            }
        }
    }

    /// Returns the sums of all connections that have ended since the closer was made,
    /// those of a drain included. In a forked child there are none.
    #[must_use]
    pub fn sums(&self) -> Sums {
        if self.is_forked() {
            return Sums::default();
        }
        self.shared.account.sums()
    }

    /// Returns how many connections are in flight: submitted, and their descriptor not
    /// closed yet. In a forked child there are none.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        if self.is_forked() {
            return 0;
        }
        self.in_flight_by_count()
    }

    /// Waits up to `time` until no connection is in flight. Returns `false` on timeout.
    ///
    /// # Blocking
    /// Blocks the calling thread up to `time`. Where it [cannot wait](Self::can_wait), it
    /// returns at once whether nothing is in flight.
    #[must_use = "`false` says that connections are still closing"]
    pub fn wait_idle(&self, time: Duration) -> bool {
        match self.can_wait() {
            // One that has failed lets go of everything before it ends.
            Ok(()) | Err(WaitError::ThreadFailed) => self.shared.inbox.wait_idle(time),
            Err(WaitError::OwnThread | WaitError::Forked) => self.in_flight_by_count() == 0,
        }
    }

    /// Waits up to `time` until the fate of every connection is known. Returns `false` on
    /// timeout.
    ///
    /// Unlike [`wait_idle`](Self::wait_idle) it does not wait for connections
    /// that are held only because their peers may still be sending.
    ///
    /// # Blocking
    /// As [`wait_idle`](Self::wait_idle).
    #[must_use = "`false` says that fates are still unknown"]
    pub fn wait_reported(&self, time: Duration) -> bool {
        match self.can_wait() {
            Ok(()) | Err(WaitError::ThreadFailed) => self.shared.account.wait_reported(time),
            Err(WaitError::OwnThread) => self.shared.account.unreported() == 0,
            Err(WaitError::Forked) => self.in_flight_by_count() == 0,
        }
    }

    /// Checks whether the calling thread can wait for this closer's.
    ///
    /// # Errors
    /// It is that thread ([`WaitError::OwnThread`]), or there is none.
    pub fn can_wait(&self) -> Result<(), WaitError> {
        if !self.is_forked() && thread::current().id() == self.thread {
            return Err(WaitError::OwnThread);
        }
        self.has_thread()
    }

    fn has_thread(&self) -> Result<(), WaitError> {
        if self.is_forked() {
            Err(WaitError::Forked)
        } else if self.shared.account.has_failed() {
            Err(WaitError::ThreadFailed)
        } else {
            Ok(())
        }
    }

    /// No lock may be taken then: another thread of the parent's may have held it.
    fn is_forked(&self) -> bool {
        std::process::id() != self.pid
    }

    fn in_flight_by_count(&self) -> usize {
        self.shared.inbox.in_flight.load(Ordering::Acquire)
    }
}

impl Shared {
    /// Connections that are reported, and held for late input.
    fn held(&self) -> usize {
        let in_flight = self.inbox.in_flight.load(Ordering::Acquire);
        in_flight.saturating_sub(self.account.unreported())
    }

    /// Has the thread close a part of those.
    #[cfg(feature = "tokio")]
    fn give_up_held(&self) {
        self.give_up.store(true, Ordering::Release);
        self.inbox.waker.wake();
    }

    /// Puts a job in, or gives it back at the limit, after a drain, and without memory.
    #[expect(clippy::result_large_err, reason = "it goes back whole")]
    fn submit(&self, job: Job) -> Result<(), Job> {
        // Before a drain could miss it.
        self.account.expect();
        self.inbox
            .submit(job)
            .inspect_err(|_| self.account.settle())
    }

    /// As [`submit`](Self::submit) whatever the limit, for an ending that has begun.
    #[expect(clippy::result_large_err, reason = "it goes back whole")]
    fn adopt(&self, driver: Driver, sink: Option<Sink>) -> Result<(), Job> {
        let awaited = !driver.is_holding();
        if awaited {
            self.account.expect();
        }
        self.inbox
            .submit_begun(Job::Adopt(driver, sink))
            .inspect_err(|_| {
                if awaited {
                    self.account.settle();
                }
            })
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        // The thread is not joined: a drop must not wait for other people's
        // deadlines.
        if !self.is_forked() {
            self.shared.inbox.no_more();
        }
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer")
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
