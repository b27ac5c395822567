//! Thousands of endings on one thread.

pub(crate) mod background;
mod drain;
mod engine;
mod inbox;
mod jobs;
mod receipts;
mod slots;
mod sync;
mod wheel;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::{Edges, Waker};
pub use drain::{Drained, Ended};
use engine::Engine;
use inbox::{Inbox, Job};
use sync::Ordering;

/// What becomes of a result.
pub(crate) type Sink = Box<dyn FnOnce(Result<Report, CloseError>) + Send>;

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
pub struct Closer {
    inbox: Arc<Inbox>,
    backend: Backend,
}

/// Settings of a [`Closer`].
#[derive(Debug, Clone)]
pub struct Builder {
    limit: usize,
    name: String,
    backend: Option<Backend>,
}

/// What tells a [`Closer`] about its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// Edge-triggered epoll; everywhere on Linux.
    Epoll,
    /// io_uring's multishot polls (Linux 6.1); feature `io-uring`, and where the
    /// kernel allows it.
    IoUring,
}

impl Builder {
    /// At most so many endings in flight; beyond that [`Closer::close`] answers
    /// with an error and gives the socket back. 65 536 unless set.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Asks for a backend. Without it, or where the one asked for is not to be
    /// had, the closer takes epoll; [`Closer::backend`] tells.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// The thread's name, `lastbyte` unless set.
    #[must_use]
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// No descriptors, no memory, or no thread to be had.
    pub fn build(self) -> io::Result<Closer> {
        let inbox = Arc::new(Inbox::new(self.limit, Waker::new()?));
        // A ring belongs to the thread that makes it, so the thread says what it
        // came to.
        let (tell, told) = mpsc::channel();
        let theirs = Arc::clone(&inbox);
        let asked = self.backend;
        std::thread::Builder::new()
            .name(self.name)
            .spawn(move || run(theirs, asked, &tell))?;
        let backend = told
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the closer's thread ended at once")))?;
        Ok(Closer { inbox, backend })
    }
}

/// The closer's thread.
fn run(inbox: Arc<Inbox>, asked: Option<Backend>, tell: &mpsc::Sender<io::Result<Backend>>) {
    #[cfg(feature = "io-uring")]
    if asked == Some(Backend::IoUring) {
        let ring = crate::sys::Ring::new();
        if let Ok(engine) = ring.and_then(|ring| Engine::new(Arc::clone(&inbox), ring)) {
            let _ = tell.send(Ok(Backend::IoUring));
            return engine.run();
        }
    }
    #[cfg(not(feature = "io-uring"))]
    let _ = asked;
    match Edges::new().and_then(|edges| Engine::new(inbox, edges)) {
        Ok(engine) => {
            let _ = tell.send(Ok(Backend::Epoll));
            engine.run();
        }
        Err(error) => {
            let _ = tell.send(Err(error));
        }
    }
}

impl Closer {
    /// A closer with the default settings.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// A closer with settings of one's own.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            limit: 65_536,
            name: "lastbyte".to_owned(),
            backend: None,
        }
    }

    /// What tells this closer about its connections.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Ends a connection and calls `then` with what became of it, on the
    /// closer's thread. `then` should be quick: the others wait for it.
    ///
    /// Unlike [`close`](crate::close()), off is awaited too: the report comes
    /// when data and FIN are acknowledged.
    ///
    /// # Errors
    /// No place: as many endings are in flight as the limit allows (`EAGAIN`), or
    /// the thread is gone. The socket is in the error, untouched. A socket that
    /// is no connection is refused through `then`.
    pub fn close<S, P, F>(&self, socket: S, policy: P, then: F) -> Result<(), CloseError>
    where
        S: Into<OwnedFd>,
        P: Into<Policy>,
        F: FnOnce(Result<Report, CloseError>) + Send + 'static,
    {
        let job = Job::Begin {
            socket: socket.into(),
            policy: policy.into(),
            began: Instant::now(),
            sink: Box::new(then),
        };
        self.inbox.submit(job).map_err(|job| match job {
            Job::Begin { socket, .. } => {
                CloseError::resources(io::Error::from_raw_os_error(libc::EAGAIN), socket)
            }
            Job::Adopt(_) | Job::Drain { .. } => {
                CloseError::lost_sight(io::Error::from_raw_os_error(libc::EAGAIN))
            }
        })
    }

    /// Ends everything in flight within `time`, one deadline for all, and tells
    /// each connection's report and the sums: what a deploy wants to know.
    ///
    /// Connections that reach their own end before are told as they are; the
    /// rest are cut short when the time is over (`timed_out`, what is lost
    /// counted). Callbacks are called as ever. From here on the closer takes no
    /// further connections.
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
    pub fn drain(&self, time: Duration) -> Drained {
        let now = Instant::now();
        // Further away than the clock holds is never.
        let until = now
            .checked_add(time)
            .unwrap_or(now + Duration::from_secs(1 << 32));
        self.inbox.drain(until).recv().unwrap_or_default()
    }

    /// Endings in flight: submitted, and their descriptor not closed yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.inbox.in_flight.load(Ordering::Acquire)
    }

    /// Waits until no ending is in flight, `time` at most. Whether that came.
    pub fn wait_idle(&self, time: Duration) -> bool {
        self.inbox.wait_idle(time)
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        // The thread is not joined: a drop must not wait for other people's
        // deadlines.
        self.inbox.no_more();
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer")
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
