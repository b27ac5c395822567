//! A listener whose connections end as one policy says.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use ::tokio::runtime;

use super::handle::Handle;
use super::roll::{Roll, Stage};
use super::stream::Stream;
use super::timer;
use crate::closer::background::{self, background};
use crate::connection::Connection;
use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys;

/// A [`TcpListener`](::tokio::net::TcpListener) whose connections are
/// [`Stream`]s: each ends as the listener's policy says, however the server
/// drops it, and is told of.
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
    roll: Arc<Roll>,
    /// Ready when a shutdown begins.
    last_call: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    runtime: Option<runtime::Handle>,
    /// Whether the runtime that accepts is known to have time.
    has_time: bool,
}

/// How often it is tried to find a descriptor, and the time between that: together longer
/// than a delayed acknowledgement takes, before which nothing can be given up.
const TRIES: u32 = 20;
const MOMENT: Duration = Duration::from_millis(5);

enum Socket {
    Open(TcpListener),
    /// A shutdown has begun; who has connected already is still let in.
    LastCall {
        tcp: std::net::TcpListener,
        /// How many are let in at most: those that had connected when it began.
        left: usize,
    },
    Closed,
}

impl Listener {
    /// Has the connections that `tcp` accepts end as `policy` says.
    #[must_use]
    pub fn new(tcp: TcpListener, policy: impl Into<Policy>) -> Self {
        let is_tcp = sys::is_tcp(tcp.as_fd()).unwrap_or(false);
        let roll = Arc::new(Roll::new(is_tcp));
        roll.listens(tcp.as_raw_fd());
        let mut stages = roll.stages();
        let last_call = async move {
            // An error would mean that the listener is gone.
            let _ = stages.wait_for(|&stage| stage >= Stage::LastCall).await;
        };
        Self {
            address: tcp.local_addr().ok(),
            socket: Socket::Open(tcp),
            policy: policy.into(),
            roll,
            last_call: Box::pin(last_call),
            runtime: runtime::Handle::try_current().ok(),
            has_time: false,
        }
    }

    /// Listens on `address`.
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
        let first = self.roll.set_hook(Box::new(hook));
        assert!(first, "a listener has one hook for its reports");
        self
    }

    /// A handle with which to shut down, and to see how many are open.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.roll))
    }

    /// The next connection; `None` once a [shutdown](Handle::shutdown) has begun
    /// and those that had connected before it have been given out.
    ///
    /// # Cancellation
    /// Cancel safe: no connection is lost.
    ///
    /// # Errors
    /// Those of accept(2). `ECONNABORTED` and the like mean that one connection
    /// was gone already; `EMFILE` and `ENFILE` that there are no descriptors, and
    /// it is wise to wait before trying again. Before it comes to that, connections
    /// are closed that are delivered and held only for what their peers may still send,
    /// quiet peers' first. `Unsupported` in a runtime that was built without time.
    pub async fn accept(&mut self) -> io::Result<Option<(Stream, SocketAddr)>> {
        if !std::mem::replace(&mut self.has_time, true) {
            timer::needs_time().inspect_err(|_| self.has_time = false)?;
        }
        let mut tries = 0;
        let accepted = loop {
            match self.accept_tcp().await {
                Err(error) if is_want_of_descriptors(&error) => {
                    tries += 1;
                    if tries > TRIES || !self.make_room().await {
                        return Err(error);
                    }
                }
                done => break done?,
            }
        };
        let Some((tcp, peer)) = accepted else {
            return Ok(None);
        };
        let entry = self
            .roll
            .enter(tcp.as_raw_fd(), Connection::accepted(&tcp, peer));
        let stream = Stream::listed(tcp, self.policy, entry, self.runtime.clone());
        Ok(Some((stream, peer)))
    }

    /// The address it listens on, or did.
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

    /// How its connections end.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Has connections closed that are held for late input, or waits a moment for those
    /// whose ending is under way. False where there are none.
    async fn make_room(&self) -> bool {
        if self.roll.make_room().await || room_in_background().await {
            return true;
        }
        timer::pause(MOMENT).await;
        self.roll.has_endings() || background().in_flight() > 0
    }

    async fn accept_tcp(&mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        if let Socket::Open(tcp) = &self.socket {
            let _accepting = self.roll.accepting();
            let last_call = &mut self.last_call;
            let accepted = std::future::poll_fn(|cx| {
                // Before the next one: under a flood there always is one.
                if last_call.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                tcp.poll_accept(cx).map(Some)
            });
            if let Some(accepted) = accepted.await {
                return accepted.map(Some);
            }
        }
        self.last_call()
    }

    /// Lets in who has connected already; closing the listener resets whoever is
    /// left. Not by way of the reactor, which may not know of them yet.
    fn last_call(&mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        self.socket = match std::mem::replace(&mut self.socket, Socket::Closed) {
            Socket::Open(tcp) => {
                // Where that fails, it closes the listener.
                self.roll.listener_closes();
                let tcp = tcp
                    .into_std()
                    .inspect_err(|_| self.roll.listener_closed())?;
                self.roll.listens(tcp.as_raw_fd());
                // The queue is first in, first out.
                let left = sys::backlog(tcp.as_fd()).unwrap_or(usize::MAX);
                Socket::LastCall { tcp, left }
            }
            begun => begun,
        };
        let over = self.roll.is_at(Stage::HeldBack);
        if let Socket::LastCall { tcp, left } = &mut self.socket {
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
        self.roll.listener_closes();
        self.socket = Socket::Closed;
        self.roll.listener_closed();
    }
}

/// Has the background closer close connections that are held for late input. Whether
/// one was.
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

/// Whether the process or the system has no descriptors left (accept(2)).
fn is_want_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
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
            .field("open", &self.roll.open())
            .finish_non_exhaustive()
    }
}
