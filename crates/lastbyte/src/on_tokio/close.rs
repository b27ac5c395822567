//! Closing one connection, awaited.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ::tokio::net::TcpStream;

use super::socket::Socket;
use super::task::{Outcome, Task};
use crate::detach::detach;
use crate::driver::Prepared;
use crate::error::CloseError;
use crate::linger::Linger;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::OwnedSocket;

/// Closes a TCP connection, and returns a future of what became of its bytes.
///
/// It is [`lastbyte::close`](crate::close()) without a thread that waits. The
/// close begins with the call; the future gives the same reports and errors,
/// deadline included, as soon as the acknowledgement, the RST or the deadline is
/// there. Nothing polls.
///
/// Takes a [`TcpStream`](::tokio::net::TcpStream), a [`Stream`](super::Stream), one of std's or
/// any [`OwnedFd`](std::os::fd::OwnedFd); tokio's own is the cheapest, because the reactor knows it
/// already.
///
/// # Cancellation
/// It is cancel safe: dropped at any time, the close goes on to its deadline in the
/// [background](crate::background); nothing is reset or leaked, only the report
/// is lost.
///
/// ```
/// # use std::time::Duration;
/// use lastbyte::{Fate, Policy};
/// use tokio::io::AsyncWriteExt;
/// use tokio::net::{TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let mut stream = TcpStream::connect(listener.local_addr()?).await?;
/// # let (_peer, _) = listener.accept().await?;
/// stream.write_all(b"the last byte").await?;
///
/// let policy = Policy::wait(Duration::from_secs(5));
/// let report = lastbyte::on_tokio::close(stream, policy).await?;
/// assert_eq!(report.fate, Fate::Delivered);
/// assert_eq!(report.acked, Some(13));
/// # Ok(()) }
/// ```
///
/// # Errors
/// Those of [`lastbyte::close`](crate::close()), but for the one of a non-blocking
/// socket: every socket of tokio's is non-blocking, and waiting is what the
/// future is for. In a runtime that was built without time, or for a socket that is not
/// tokio's without IO, a close that would have to wait is refused (`Unsupported`), the
/// socket given back untouched.
pub fn close<S, P>(socket: S, policy: P) -> Close
where
    S: Closable,
    P: Into<Policy>,
{
    socket.close_with(policy.into())
}

/// Marks what [`close`] takes. It is sealed: convert whatever else owns a connection into
/// an [`OwnedFd`](std::os::fd::OwnedFd).
pub trait Closable: sealed::Sealed {}

pub(super) mod sealed {
    use super::{Close, Policy};

    pub trait Sealed {
        fn close_with(self, policy: Policy) -> Close;
    }
}

/// Waits for a close under way: see [`close`].
#[must_use = "dropped, the close goes on in the background and its report is lost"]
pub struct Close(Progress);

enum Progress {
    Known(Outcome),
    Waiting(Box<Task>),
    /// It is for others to finish.
    Given,
}

impl Close {
    pub(super) fn begin(socket: Socket, policy: &Policy, began: Instant) -> Self {
        match Task::begin(socket, policy, None, began, true) {
            Ok((task, result)) => Self::follow(task, result),
            Err(error) => Self::known(Err(error)),
        }
    }

    pub(super) fn known(result: Outcome) -> Self {
        Self(Progress::Known(result))
    }

    pub(super) fn follow(task: Task, result: Option<Outcome>) -> Self {
        match result {
            Some(result) => {
                finish(task);
                Self::known(result)
            }
            None => Self(Progress::Waiting(Box::new(task))),
        }
    }
}

/// Sees to what remains once the result is known: late input.
fn finish(task: Task) {
    if !task.is_over() {
        task.spawn(None);
    }
}

impl Future for Close {
    type Output = Result<Report, CloseError>;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Progress::Waiting(task) = &mut self.0 {
            let result = ready!(task.poll_result(cx));
            if let Progress::Waiting(task) = std::mem::replace(&mut self.0, Progress::Given) {
                finish(*task);
            }
            return Poll::Ready(result);
        }
        match std::mem::replace(&mut self.0, Progress::Given) {
            Progress::Known(result) => Poll::Ready(result),
            Progress::Waiting(_) | Progress::Given => panic!("a close was awaited twice"),
        }
    }
}

impl Drop for Close {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.0, Progress::Given) {
            // Its listener still wants to know.
            Progress::Waiting(task) if task.is_registered() => task.spawn(None),
            // The rest finds its way by being dropped.
            Progress::Waiting(_) | Progress::Known(_) | Progress::Given => {}
        }
    }
}

impl fmt::Debug for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = match &self.0 {
            Progress::Known(result) => Some(result),
            Progress::Waiting(_) | Progress::Given => None,
        };
        f.debug_struct("Close")
            .field("result", &result)
            .finish_non_exhaustive()
    }
}

impl Closable for TcpStream {}
impl sealed::Sealed for TcpStream {
    fn close_with(self, policy: Policy) -> Close {
        let began = Instant::now();
        if policy.linger() == Linger::Off {
            return match self.into_std() {
                Ok(stream) => off(stream.into(), &policy, began),
                Err(error) => Close::known(Err(CloseError::lost_sight(error))),
            };
        }
        Close::begin(Socket::Stream(self), &policy, began)
    }
}

impl Closable for OwnedSocket {}
impl sealed::Sealed for OwnedSocket {
    fn close_with(self, policy: Policy) -> Close {
        let began = Instant::now();
        if policy.linger() == Linger::Off {
            return off(self, &policy, began);
        }
        Close::begin(Socket::Fd(self), &policy, began)
    }
}

impl Closable for std::net::TcpStream {}
impl sealed::Sealed for std::net::TcpStream {
    fn close_with(self, policy: Policy) -> Close {
        OwnedSocket::from(self).close_with(policy)
    }
}

/// Returns at once, as the contract has it; the background delivers.
fn off(fd: OwnedSocket, policy: &Policy, began: Instant) -> Close {
    Close::known(Prepared::new(fd, policy, began).and_then(detach))
}
