//! A listener whose connections end as one policy says.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use ::tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use ::tokio::runtime;

use super::handle::Handle;
use super::roll::{Roll, Stage};
use super::stream::Stream;
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
/// use lastbyte::tokio::Listener;
/// use tokio::io::AsyncWriteExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let mut listener = Listener::bind("127.0.0.1:0", Policy::off())
///     .await?
///     .on_report(|peer, result| match result {
///         Ok(report) => println!("{peer}: {report}"),
///         Err(error) => println!("{peer}: {error}"),
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
}

enum Socket {
    Open(TcpListener),
    /// A shutdown has begun; who has connected already is still let in.
    LastCall(std::net::TcpListener),
    Closed,
}

impl Listener {
    /// Has the connections that `tcp` accepts end as `policy` says.
    #[must_use]
    pub fn new(tcp: TcpListener, policy: impl Into<Policy>) -> Self {
        let is_tcp = sys::is_tcp(tcp.as_fd()).unwrap_or(false);
        let roll = Arc::new(Roll::new(is_tcp));
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
        }
    }

    /// Listens on `address`.
    ///
    /// # Errors
    /// Those of [`TcpListener::bind`](::tokio::net::TcpListener::bind).
    pub async fn bind(address: impl ToSocketAddrs, policy: impl Into<Policy>) -> io::Result<Self> {
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
        F: Fn(SocketAddr, &Result<Report, CloseError>) + Send + Sync + 'static,
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
    /// it is wise to wait before trying again.
    pub async fn accept(&mut self) -> io::Result<Option<(Stream, SocketAddr)>> {
        let Some((tcp, peer)) = self.accept_tcp().await? else {
            return Ok(None);
        };
        let entry = self.roll.enter(tcp.as_raw_fd(), peer);
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

    async fn accept_tcp(&mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        if let Socket::Open(tcp) = &self.socket {
            let last_call = &mut self.last_call;
            let accepted = std::future::poll_fn(|cx| match tcp.poll_accept(cx) {
                Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                Poll::Pending => last_call.as_mut().poll(cx).map(|()| None),
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
        if let Socket::Open(tcp) = std::mem::replace(&mut self.socket, Socket::Closed) {
            self.socket = Socket::LastCall(tcp.into_std()?);
        }
        if let Socket::LastCall(tcp) = &self.socket {
            match tcp.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    return Ok(Some((TcpStream::from_std(stream)?, peer)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.close(),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn close(&mut self) {
        self.socket = Socket::Closed;
        self.roll.listener_closed();
    }
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
