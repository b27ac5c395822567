//! A connection that ends as its policy says when it is dropped.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::{TcpStream, ToSocketAddrs};
use ::tokio::runtime::Handle;

use super::close::{Closable, Close, sealed};
use super::registry::{Access, Registration};
use super::socket::Socket;
use super::sweeper::Sweeper;
use super::task::{Outcome, Task};
use super::timer;
use crate::error::CloseError;
use crate::policy::Policy;

/// Reads and writes as a [`TcpStream`](::tokio::net::TcpStream) does, and ends as its
/// policy says, whoever drops it and whenever.
///
/// Reads and writes pass straight through, vectored writes included.
///
/// | | does |
/// |---|---|
/// | [`poll_shutdown`](AsyncWrite::poll_shutdown) | half-closes: sends FIN after what was written. Reading goes on |
/// | drop | begins the ending: FIN if there was none yet, then whatever the policy says; returns at once. A task of the runtime sees to the rest: discards input that nobody will read, so that it cannot provoke an RST that destroys the response on its way; keeps the deadline; closes the descriptor when the peer has closed, or [the drain bound](Policy::with_drain_time) is reached |
/// | [`close`](Self::close) | the same, and returns what became of the bytes |
///
/// After delivery the connection is held for [`Policy::DRAIN_TIME`], or what
/// [`with_drain_time`](Policy::with_drain_time) says, even if the peer is quiet: a server may
/// answer before its client has begun to send the body.
///
/// So a server written for `TcpStream` (hyper, for one, shuts down and then drops
/// a connection as soon as the response is written, whether or not the request's
/// body was read) keeps its clients' last bytes without knowing.
///
/// With [`Linger::Off`](crate::Linger::Off) the ending has no deadline of its own,
/// as ever; it is left to the kernel after two minutes without progress.
///
/// Where no runtime is there to run the task, or it shuts down before the ending
/// is over, the [background closer](crate::background) takes over.
///
/// ```
/// use lastbyte::{Fate, Policy};
/// use lastbyte::on_tokio::Stream;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::{TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # let client = tokio::spawn(async move {
/// #     let mut client = TcpStream::connect(address).await?;
/// #     client.write_all(&[7; 100_000]).await?;
/// #     let mut answer = String::new();
/// #     client.read_to_string(&mut answer).await?;
/// #     std::io::Result::Ok(answer)
/// # });
/// let (tcp, _) = listener.accept().await?;
/// let mut stream = Stream::new(tcp, Policy::off());
/// stream.write_all(b"no, thanks").await?;
/// drop(stream); // unread input notwithstanding, the client gets the answer
/// # assert_eq!(client.await??, "no, thanks");
/// # Ok(()) }
/// ```
pub struct Stream {
    /// Until it is dropped or closed. Servers pass their connections from hand to
    /// hand; like this it costs them no more than a pointer.
    held: Option<Box<Held>>,
}

struct Held {
    tcp: TcpStream,
    policy: Policy,
    registration: Option<Registration>,
    driven_by: DrivenBy,
}

/// What an ending that nobody awaits goes on by. The stream may be dropped where no runtime
/// is.
#[derive(Clone)]
enum DrivenBy {
    /// A task of the runtime that the stream was made in.
    Runtime(Option<Handle>),
    /// Its listener's sweeper.
    Sweeper(Arc<Sweeper>),
}

impl DrivenBy {
    fn leave(&self, task: Task) {
        match self {
            Self::Runtime(runtime) => task.spawn(runtime.as_ref()),
            Self::Sweeper(sweeper) => sweeper.leave(task),
        }
    }
}

/// Only a drop or a close takes the stream.
const HELD: &str = "a stream holds its connection until it is dropped";

impl Stream {
    /// Wraps a connection of tokio's: it ends as `policy` says.
    #[must_use]
    pub fn new(tcp: TcpStream, policy: impl Into<Policy>) -> Self {
        Self::hold(Held {
            tcp,
            policy: policy.into(),
            registration: None,
            driven_by: DrivenBy::Runtime(Handle::try_current().ok()),
        })
    }

    /// Takes over a connection of std's, and makes it non-blocking.
    ///
    /// # Errors
    /// Those of fcntl(2) and of the registration with the reactor (`EMFILE`, `ENOMEM`);
    /// `Unsupported` outside of a runtime, and in one that was built without IO. The
    /// connection is closed then, in the plain way.
    pub fn from_std(tcp: std::net::TcpStream, policy: impl Into<Policy>) -> io::Result<Self> {
        tcp.set_nonblocking(true)?;
        let tcp = timer::register(|| TcpStream::from_std(tcp))?;
        Ok(Self::new(tcp, policy))
    }

    /// Connects to `address`.
    ///
    /// # Cancellation
    /// Dropped, the future gives the attempt up.
    ///
    /// # Errors
    /// Those of connect(2), and of the look-up of a name.
    pub async fn connect(
        address: impl ToSocketAddrs,
        policy: impl Into<Policy>,
    ) -> io::Result<Self> {
        Ok(Self::new(TcpStream::connect(address).await?, policy))
    }

    pub(super) fn listed(
        tcp: TcpStream,
        policy: Policy,
        registration: Registration,
        sweeper: Arc<Sweeper>,
    ) -> Self {
        Self::hold(Held {
            tcp,
            policy,
            registration: Some(registration),
            driven_by: DrivenBy::Sweeper(sweeper),
        })
    }

    fn hold(held: Held) -> Self {
        Self {
            held: Some(Box::new(held)),
        }
    }

    /// Ends the connection now, and returns a future of what became of its bytes.
    ///
    /// As [`close`](super::close()) with the stream's policy, except that
    /// [`Linger::Off`](crate::Linger::Off) is awaited too: the report comes when
    /// data and FIN are acknowledged. The close begins with the call; dropped,
    /// the future leaves it to the background.
    pub fn close(mut self) -> Close {
        match self.held.take().and_then(|held| held.begin_ending(true)) {
            Some(Ok((task, result))) => Close::follow(task, result),
            Some(Err(error)) => Close::known(Err(error)),
            None => Close::known(Err(CloseError::lost_sight(
                io::ErrorKind::ConnectionAborted.into(),
            ))),
        }
    }

    /// Returns how the connection is to end.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.held().policy
    }

    /// Sets another way to end. That its sending side was shut down stays known.
    pub fn set_policy(&mut self, policy: impl Into<Policy>) {
        let held = self.held_mut();
        let policy = policy.into();
        held.policy = if held.policy.has_sent_fin() {
            policy.and_sending_shut_down()
        } else {
            policy
        };
    }

    /// Returns the address of the other end.
    ///
    /// # Errors
    /// Those of getpeername(2): `ENOTCONN` once the peer has reset the
    /// connection.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    /// Returns the address of this end.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }

    /// Returns whether small writes are sent at once (`TCP_NODELAY`, tcp(7)).
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn nodelay(&self) -> io::Result<bool> {
        self.tcp().nodelay()
    }

    /// Sets whether small writes are sent at once or collected (`TCP_NODELAY`, tcp(7)).
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.tcp().set_nodelay(nodelay)
    }

    /// Returns the connection itself, for reading, waiting and options.
    ///
    /// Bytes written through it once the deadline of a
    /// [`Handle::shutdown`](super::Handle::shutdown) has come may be missing in
    /// its sums.
    #[must_use]
    pub fn get_ref(&self) -> &TcpStream {
        self.tcp()
    }

    /// Gives the connection back. How it ends is the caller's affair again, and
    /// it is in no report or sum of the listener.
    #[must_use]
    pub fn into_inner(mut self) -> TcpStream {
        let held = self.held.take().expect(HELD);
        if let Some(registration) = &held.registration {
            // The listener's shutdown must not touch it any more.
            registration.begin_ending();
        }
        held.tcp
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.held().tcp
    }

    fn held(&self) -> &Held {
        self.held.as_ref().expect(HELD)
    }

    fn held_mut(&mut self) -> &mut Held {
        self.held.as_mut().expect(HELD)
    }
}

impl Held {
    /// `None` when it was ended by the listener's shutdown.
    fn begin_ending(self, awaited: bool) -> Option<Result<(Task, Option<Outcome>), CloseError>> {
        let began = Instant::now();
        let Self {
            tcp, registration, ..
        } = self;
        if registration
            .as_ref()
            .is_some_and(|registration| !registration.begin_ending())
        {
            return None;
        }
        // A server may answer before its client has sent what it will send.
        let policy = self.policy.held();
        let socket = match &registration {
            Some(registration) if registration.is_tcp() => Socket::Accepted(tcp),
            _ => Socket::Stream(tcp),
        };
        Some(Task::begin(socket, &policy, registration, began, awaited))
    }

    /// The connection, and the right to write to it.
    fn writable(&mut self) -> io::Result<(Pin<&mut TcpStream>, Option<Access<'_>>)> {
        let access = self
            .registration
            .as_ref()
            .map(Registration::access)
            .transpose()?;
        Ok((Pin::new(&mut self.tcp), access))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let driven_by = held.driven_by.clone();
        if let Some(Ok((task, _))) = held.begin_ending(false) {
            if !task.is_over() {
                driven_by.leave(task);
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.held_mut().tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (tcp, _access) = self.held_mut().writable()?;
        tcp.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (tcp, _access) = self.held_mut().writable()?;
        tcp.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.held_mut().tcp).poll_flush(cx)
    }

    /// Half-closes: FIN goes out after what was written, and reading goes on.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let held = self.held_mut();
        {
            let (tcp, access) = held.writable()?;
            ready!(tcp.poll_shutdown(cx))?;
            if let Some(mut access) = access {
                access.note_half_closed();
            }
        }
        held.policy = held.policy.and_sending_shut_down();
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("tcp", &self.held.as_ref().map(|held| &held.tcp))
            .field("policy", &self.held.as_ref().map(|held| &held.policy))
            .finish_non_exhaustive()
    }
}

impl Closable for Stream {}
impl sealed::Sealed for Stream {
    fn close_with(mut self, policy: Policy) -> Close {
        self.set_policy(policy);
        self.close()
    }
}
