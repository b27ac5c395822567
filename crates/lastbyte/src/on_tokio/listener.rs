//! A listener whose connections end as one policy says.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use ::tokio::runtime;

use super::handle::Handle;
use super::registry::{Registration, Registry, Stage};
use super::stream::Stream;
use super::sweeper::Sweeper;
use super::timer;
use crate::closer::background::{self, background};
use crate::connection::Connection;
use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::{self, BorrowedSocket, HasSocket, code};

/// Accepts connections that end as its policy says, however the server drops them: a
/// [`TcpListener`](::tokio::net::TcpListener) whose connections are [`Stream`]s and are
/// all reported.
///
/// With feature `axum` it is what `axum::serve` takes; that is the whole change
/// of a server. [The module](super#axum) shows that, hyper and a deploy.
///
/// ```
/// use lastbyte::Policy;
/// use lastbyte::on_tokio::Listener;
/// use tokio::io::AsyncWriteExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let mut listener = Listener::bind("127.0.0.1:0", Policy::off())
///     .await?
///     .on_report(|connection, result| match result {
///         Ok(report) => println!("{connection}: {report}"),
///         Err(error) => println!("{connection}: {error}"),
///     });
/// # let address = listener.local_addr()?;
/// # let client = tokio::spawn(async move {
/// #     use tokio::io::AsyncReadExt;
/// #     let mut hello = String::new();
/// #     tokio::net::TcpStream::connect(address).await?.read_to_string(&mut hello).await?;
/// #     std::io::Result::Ok(hello)
/// # });
/// # let handle = listener.handle();
/// # let mut served = 0;
/// while let Some((mut stream, _peer)) = listener.accept().await? {
///     tokio::spawn(async move {
///         stream.write_all(b"hello").await // and drops it
///     });
/// #   served += 1;
/// #   if served == 1 { let handle = handle.clone(); tokio::spawn(async move { handle.shutdown(std::time::Duration::from_secs(9)).await }); }
/// }
/// # assert_eq!(client.await??, "hello");
/// # Ok(()) }
/// ```
pub struct Listener {
    socket: Socket,
    address: Option<SocketAddr>,
    policy: Policy,
    registry: Arc<Registry>,
    /// Ready when a shutdown begins.
    shutdown: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    sweeper: Arc<Sweeper>,
    /// Whether the runtime that accepts is known to have time.
    has_time: bool,
    /// Tries to free a descriptor, while accepting fails for want of one.
    room: Option<Room>,
    tries: u32,
}

type Room = Pin<Box<dyn Future<Output = bool> + Send + Sync>>;

/// How often it is tried to find a descriptor, and the time between that: together longer
/// than a delayed acknowledgement takes, before which nothing can be given up.
const TRIES: u32 = 20;
const MOMENT: Duration = Duration::from_millis(5);

enum Socket {
    Open(TcpListener),
    /// A shutdown has begun; who has connected already is still let in.
    LastAccepts {
        tcp: std::net::TcpListener,
        /// How many are let in at most: those that had connected when it began.
        left: usize,
    },
    Closed,
}

impl Listener {
    /// Wraps a listener of tokio's: the connections that it accepts end as `policy` says.
    #[must_use]
    pub fn new(tcp: TcpListener, policy: impl Into<Policy>) -> Self {
        let is_tcp = sys::is_tcp(tcp.borrowed()).unwrap_or(false);
        let registry = Arc::new(Registry::new(is_tcp));
        registry.listens(&tcp);
        let mut stages = registry.stages();
        let shutdown = async move {
            // An error would mean that the listener is gone.
            let _ = stages.wait_for(|&stage| stage >= Stage::LastAccepts).await;
        };
        Self {
            address: tcp.local_addr().ok(),
            socket: Socket::Open(tcp),
            policy: policy.into(),
            registry,
            shutdown: Box::pin(shutdown),
            sweeper: Arc::new(Sweeper::new(runtime::Handle::try_current().ok())),
            has_time: false,
            room: None,
            tries: 0,
        }
    }

    /// Takes over a listening socket of std's, and makes it non-blocking.
    ///
    /// # Errors
    /// Those of fcntl(2) and of the registration with the reactor (`EMFILE`, `ENOMEM`);
    /// `Unsupported` outside of a runtime, and in one that was built without time or IO.
    /// The socket is closed then.
    pub fn from_std(tcp: std::net::TcpListener, policy: impl Into<Policy>) -> io::Result<Self> {
        timer::needs_time()?;
        tcp.set_nonblocking(true)?;
        let tcp = timer::register(|| TcpListener::from_std(tcp))?;
        Ok(Self::new(tcp, policy))
    }

    /// Binds to `address` and listens.
    ///
    /// # Errors
    /// Those of [`TcpListener::bind`](::tokio::net::TcpListener::bind); `Unsupported`
    /// in a runtime that was built without time.
    pub async fn bind(address: impl ToSocketAddrs, policy: impl Into<Policy>) -> io::Result<Self> {
        timer::needs_time()?;
        Ok(Self::new(TcpListener::bind(address).await?, policy))
    }

    /// Calls `hook` with what became of each connection, once each, as soon as
    /// that is known.
    ///
    /// It runs where that happened, usually on a thread of the runtime, and
    /// should be quick. An error without a report is a connection whose end
    /// could not be seen.
    ///
    /// # Panics
    /// When it is called twice.
    #[must_use]
    pub fn on_report<F>(self, hook: F) -> Self
    where
        F: Fn(&Connection, &Result<Report, CloseError>) + Send + Sync + 'static,
    {
        let first = self.registry.set_hook(Box::new(hook));
        assert!(first, "a listener has one hook for its reports");
        self
    }

    /// Returns a handle, with which to shut down and to see how many connections are open.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.registry))
    }

    /// Waits for the next connection. Returns `None` once a [shutdown](Handle::shutdown)
    /// has begun and those that had connected before it have been given out.
    ///
    /// # Cancellation
    /// It is cancel safe: no connection is lost.
    ///
    /// # Errors
    /// Those of accept(2). `ECONNABORTED` and the like mean that one connection
    /// was gone already; `EMFILE` and `ENFILE` that there are no descriptors, and
    /// it is wise to wait before trying again. Before it comes to that, connections
    /// are closed that are delivered and held only for what their peers may still send,
    /// quiet peers' first. `Unsupported` in a runtime that was built without time.
    pub async fn accept(&mut self) -> io::Result<Option<(Stream, SocketAddr)>> {
        let registry = Arc::clone(&self.registry);
        // Until this future is ready, or dropped.
        let _accepting = registry.accepting();
        (self.room, self.tries) = (None, 0);
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for the next connection: [`accept`](Self::accept) for futures that are
    /// written by hand. Only the last caller's waker is woken.
    ///
    /// # Errors
    /// Those of [`accept`](Self::accept).
    pub fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<(Stream, SocketAddr)>>> {
        let accepted = self.poll_accept_stream(cx);
        self.registry.set_accepting(accepted.is_pending());
        accepted
    }

    fn poll_accept_stream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<(Stream, SocketAddr)>>> {
        if !std::mem::replace(&mut self.has_time, true) {
            timer::needs_time().inspect_err(|_| self.has_time = false)?;
        }
        let accepted = ready!(self.poll_with_room(cx));
        (self.room, self.tries) = (None, 0);
        let Some((tcp, peer)) = accepted? else {
            return Poll::Ready(Ok(None));
        };
        let connection = Connection::accepted(&tcp, peer);
        let registration = Registration::new(&self.registry, &tcp, connection);
        let sweeper = Arc::clone(&self.sweeper);
        let stream = Stream::listed(tcp, self.policy, registration, sweeper);
        Poll::Ready(Ok(Some((stream, peer))))
    }

    /// Accepts, and makes room where there are no descriptors.
    fn poll_with_room(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<(TcpStream, SocketAddr)>>> {
        loop {
            let made = match &mut self.room {
                Some(room) => Some(ready!(room.as_mut().poll(cx))),
                None => None,
            };
            self.room = None;
            match ready!(self.poll_accept_tcp(cx)) {
                Err(error) if is_want_of_descriptors(&error) => {
                    self.tries += 1;
                    if made == Some(false) || self.tries > TRIES {
                        return Poll::Ready(Err(error));
                    }
                    self.room = Some(Box::pin(make_room(Arc::clone(&self.registry))));
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Returns the address that it listens on, or did.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match (self.address, &self.socket) {
            (Some(address), _) => Ok(address),
            (None, Socket::Open(tcp)) => tcp.local_addr(),
            (None, _) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Returns how its connections end.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the listening socket, for its options; `None` once a shutdown has begun and
    /// closed it.
    ///
    /// That is why a listener is not `AsFd` itself.
    #[must_use]
    #[doc(alias = "AsFd")]
    pub fn fd(&self) -> Option<BorrowedSocket<'_>> {
        match &self.socket {
            Socket::Open(tcp) => Some(tcp.borrowed()),
            Socket::LastAccepts { tcp, .. } => Some(tcp.borrowed()),
            Socket::Closed => None,
        }
    }

    fn poll_accept_tcp(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<(TcpStream, SocketAddr)>>> {
        if let Socket::Open(tcp) = &self.socket {
            // Before the next one: under a flood there always is one.
            if self.shutdown.as_mut().poll(cx).is_pending() {
                return tcp.poll_accept(cx).map_ok(Some);
            }
        }
        Poll::Ready(self.last_accept())
    }

    /// Lets in who has connected already; closing the listener resets whoever is
    /// left. Not by way of the reactor, which may not know of them yet.
    fn last_accept(&mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        self.socket = match std::mem::replace(&mut self.socket, Socket::Closed) {
            Socket::Open(tcp) => {
                // Where that fails, it closes the listener.
                self.registry.listener_closes();
                let tcp = tcp
                    .into_std()
                    .inspect_err(|_| self.registry.listener_closed())?;
                self.registry.listens(&tcp);
                // The queue is first in, first out.
                let left = sys::backlog(tcp.borrowed()).unwrap_or(usize::MAX);
                Socket::LastAccepts { tcp, left }
            }
            begun => begun,
        };
        let over = self.registry.is_at(Stage::Throttled);
        if let Socket::LastAccepts { tcp, left } = &mut self.socket {
            let accepted = if over || *left == 0 {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                tcp.accept()
            };
            match accepted {
                Ok((stream, peer)) => {
                    *left -= 1;
                    stream.set_nonblocking(true)?;
                    return Ok(Some((TcpStream::from_std(stream)?, peer)));
                }
                Err(error) if is_want_of_descriptors(&error) => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.close(),
                Err(error) => {
                    *left -= 1;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn close(&mut self) {
        self.registry.listener_closes();
        self.socket = Socket::Closed;
        self.registry.listener_closed();
    }
}

/// Has connections closed that are held for late input, or waits a moment for those
/// whose ending is under way. Returns `false` if there are none.
async fn make_room(registry: Arc<Registry>) -> bool {
    if registry.make_room().await || room_in_background().await {
        return true;
    }
    timer::pause(MOMENT).await;
    registry.has_endings() || background().in_flight() > 0
}

/// Has the background closer close connections that are held for late input. Returns
/// whether one was.
async fn room_in_background() -> bool {
    let before = background().in_flight();
    if !background::give_up_held() {
        return false;
    }
    // There is no event to wait for, and it takes no longer than a step of its thread's.
    for _ in 0..50 {
        timer::pause(Duration::from_millis(1)).await;
        if background().in_flight() < before {
            return true;
        }
    }
    false
}

/// Returns whether the process or the system has no descriptors left (accept(2)).
pub(super) fn is_want_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code::EMFILE | code::ENFILE))
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .field("policy", &self.policy)
            .field("open", &self.registry.open())
            .finish_non_exhaustive()
    }
}
