//! Closes that did not end as asked, or did not begin.

use std::fmt;
use std::io;

use crate::closing::Closing;
use crate::errno::Errno;
use crate::report::{Fate, Report};
use crate::sys::{self, NoLook, OwnedSocket, code};

/// Says why a close did not end as asked, or did not begin. Nothing is lost in it: it
/// carries the [`Report`] of a close that ended badly, the [`Closing`] of one that goes
/// on, or the socket of one that never began.
///
/// [`kind`](Self::kind) can be matched on:
///
/// ```
/// use lastbyte::{CloseError, CloseErrorKind, Fate};
///
/// fn explain(error: &CloseError) -> &'static str {
///     match error.kind() {
///         CloseErrorKind::Ended(Fate::TimedOut) => "the peer was too slow",
///         CloseErrorKind::Ended(_) => "the connection broke",
///         CloseErrorKind::WouldBlock => "poll the handle and try again",
///         CloseErrorKind::Refused(_) | CloseErrorKind::NotBegun => "the socket is untouched",
///         _ => "nobody knows",
///     }
/// }
/// # let file = std::fs::File::open("/dev/null").unwrap();
/// # let error = lastbyte::close(std::os::fd::OwnedFd::from(file), lastbyte::Linger::Off).unwrap_err();
/// # assert_eq!(explain(&error), "the socket is untouched");
/// ```
///
/// # As an `io::Error`
/// It converts into an [`io::Error`] of the contract's kind (`WouldBlock` when the
/// time ran out, `ConnectionReset` …) and is that error's inner error, so that `?`
/// loses neither the report nor a socket:
///
/// ```
/// use std::io;
/// use lastbyte::{CloseError, Errno};
///
/// fn by_question_mark() -> io::Result<()> {
///     # let file = std::fs::File::open("/dev/null")?;
///     # let stream = std::os::fd::OwnedFd::from(file);
///     lastbyte::close(stream, lastbyte::Linger::Off)?;
///     Ok(())
/// }
/// let error = by_question_mark().unwrap_err();
/// assert_eq!(Errno::of(&error).and_then(Errno::name), Some("ENOTSOCK"));
/// let error = error.downcast::<CloseError>().expect("it comes from a close");
/// let socket = error.into_socket().expect("it was refused");
/// # drop(socket);
/// ```
///
/// An `io::Error` has room for an errno or for an inner error, not for both:
/// `raw_os_error()` is `None` there, and [`Errno::of`] finds the errno.
pub struct CloseError(Box<Inner>);

#[derive(Debug)]
enum Inner {
    Ended(Report),
    WouldBlock(Option<Closing>),
    Refused(Refusal, Option<OwnedSocket>),
    NotBegun(io::Error, OwnedSocket),
    Unseen(io::Error),
}

/// Names the way in which a close failed: see [`CloseError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseErrorKind {
    /// The connection has ended, but not as asked, with this fate.
    /// [`CloseError::report`] has the counts.
    Ended(Fate),
    /// The close goes on: nothing failed. [`CloseError::into_closing`] has its handle,
    /// if it came from [`close`](crate::close()) on a non-blocking socket.
    WouldBlock,
    /// The descriptor is no connection that can be closed. It was not touched, and
    /// [`CloseError::into_socket`] gives it back.
    Refused(Refusal),
    /// The close did not begin for want of descriptors, memory, threads or places. The
    /// socket was not touched, and [`CloseError::into_socket`] gives it back.
    NotBegun,
    /// The close began and is left to the kernel, which does not show how it ends.
    Unseen,
}

/// Says why a descriptor cannot be closed as a TCP connection. It was not touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The descriptor is not open (EBADF).
    BadDescriptor,
    /// It is not a socket (ENOTSOCK).
    NotASocket,
    /// It is a socket, but not a TCP stream: UDP, unix … (EPROTOTYPE).
    NotTcp,
    /// It is an MPTCP connection (RFC 8684), whose data may travel over several TCP
    /// connections; what becomes of it does not show in any one of them
    /// (EPROTONOSUPPORT). An MPTCP listener gives plain TCP sockets for clients
    /// that speak no MPTCP.
    Mptcp,
    /// It is a listener (EINVAL).
    Listening,
    /// connect() is still under way, with no data in its SYN (EINPROGRESS).
    Connecting,
    /// It was never connected (ENOTCONN).
    NotConnected,
}

impl Refusal {
    /// Returns the errno that says the same.
    #[must_use]
    pub const fn errno(self) -> Errno {
        Errno::from_raw(match self {
            Refusal::BadDescriptor => code::EBADF,
            Refusal::NotASocket => code::ENOTSOCK,
            Refusal::NotTcp => code::EPROTOTYPE,
            Refusal::Mptcp => code::EPROTONOSUPPORT,
            Refusal::Listening => code::EINVAL,
            Refusal::Connecting => code::EINPROGRESS,
            Refusal::NotConnected => code::ENOTCONN,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::BadDescriptor => "the descriptor is not open",
            Refusal::NotASocket => "the descriptor is not a socket",
            Refusal::NotTcp => "the socket is not a TCP stream",
            Refusal::Mptcp => "the socket is an MPTCP connection, not a TCP one",
            Refusal::Listening => "the socket is a listener and has no connection to end",
            Refusal::Connecting => "the connection is not established yet",
            Refusal::NotConnected => "the socket was never connected",
        })
    }
}

impl std::error::Error for Refusal {}

impl CloseError {
    pub(crate) fn ended(report: Report) -> Self {
        Self(Box::new(Inner::Ended(report)))
    }

    pub(crate) fn still_closing(closing: Option<Closing>) -> Self {
        Self(Box::new(Inner::WouldBlock(closing)))
    }

    /// The connection could not be looked at, and was not touched.
    pub(crate) fn not_begun(why: NoLook, socket: OwnedSocket) -> Self {
        match why {
            NoLook::Refused(refusal) => Self::refused(refusal, socket),
            NoLook::Failed(error) => Self::resources(error, socket),
        }
    }

    pub(crate) fn refused(refusal: Refusal, socket: OwnedSocket) -> Self {
        let socket = if refusal == Refusal::BadDescriptor {
            // Not open, so there is nothing to give back, and closing the number
            // could close somebody else's descriptor.
            sys::forget(socket);
            None
        } else {
            Some(socket)
        };
        Self(Box::new(Inner::Refused(refusal, socket)))
    }

    pub(crate) fn resources(error: io::Error, socket: OwnedSocket) -> Self {
        Self(Box::new(Inner::NotBegun(error, socket)))
    }

    /// The kernel no longer lets us see how an ending goes on; it is left to it.
    pub(crate) fn lost_sight(error: io::Error) -> Self {
        Self(Box::new(Inner::Unseen(error)))
    }

    /// Returns whether the connection is left to the kernel, and how it ends there is not seen.
    pub(crate) fn is_unseen(&self) -> bool {
        matches!(&*self.0, Inner::Unseen(_))
    }

    /// Returns in which way the close failed.
    #[must_use]
    pub fn kind(&self) -> CloseErrorKind {
        match &*self.0 {
            Inner::Ended(report) => CloseErrorKind::Ended(report.fate),
            Inner::WouldBlock(_) => CloseErrorKind::WouldBlock,
            Inner::Refused(refusal, _) => CloseErrorKind::Refused(*refusal),
            Inner::NotBegun(..) => CloseErrorKind::NotBegun,
            Inner::Unseen(_) => CloseErrorKind::Unseen,
        }
    }

    /// Returns the report of what became of the bytes, if the connection has ended.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match &*self.0 {
            Inner::Ended(report) => Some(report),
            _ => None,
        }
    }

    /// Returns the fate in the report, if the connection has ended.
    #[must_use]
    pub fn fate(&self) -> Option<Fate> {
        self.report().map(|report| report.fate)
    }

    /// Returns whether the close is still under way: nothing failed, and it is to be
    /// tried again when the handle's descriptor is readable.
    #[must_use]
    pub fn would_block(&self) -> bool {
        matches!(&*self.0, Inner::WouldBlock(_))
    }

    /// Returns why the descriptor was refused, if it was.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match &*self.0 {
            Inner::Refused(refusal, _) => Some(*refusal),
            _ => None,
        }
    }

    /// Takes the handle of a close that goes on, from [`close`](crate::close()) on a
    /// non-blocking socket. If the error is dropped instead, the close goes on in the
    /// background.
    ///
    /// # Errors
    /// The error itself, if it has no handle: of another kind, or from
    /// [`Closing::try_finish`], whose caller has the handle.
    pub fn into_closing(self) -> Result<Closing, Self> {
        match *self.0 {
            Inner::WouldBlock(Some(closing)) => Ok(closing),
            other => Err(Self(Box::new(other))),
        }
    }

    /// Takes the socket of a close that never began:
    /// [`Refused`](CloseErrorKind::Refused) or [`NotBegun`](CloseErrorKind::NotBegun).
    /// If the error is dropped instead, the socket is closed in the plain way.
    ///
    /// # Errors
    /// The error itself, if it has no socket: of another kind, or for a descriptor that
    /// was not open.
    pub fn into_socket(self) -> Result<OwnedSocket, Self> {
        match *self.0 {
            Inner::Refused(_, Some(socket)) | Inner::NotBegun(_, socket) => Ok(socket),
            other => Err(Self(Box::new(other))),
        }
    }

    /// Returns the contract's errno; `None` where the reason is not known.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match &*self.0 {
            Inner::Ended(report) => report.error,
            Inner::WouldBlock(_) => Some(Errno::EWOULDBLOCK),
            Inner::Refused(refusal, _) => Some(refusal.errno()),
            Inner::NotBegun(error, _) | Inner::Unseen(error) => Errno::of(error),
        }
    }

    /// The kind of `io::Error` that says the same.
    fn io_kind(&self) -> io::ErrorKind {
        match (&*self.0, self.errno()) {
            (Inner::NotBegun(error, _) | Inner::Unseen(error), _) => error.kind(),
            (_, Some(errno)) => io::Error::from(errno).kind(),
            (_, None) => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Inner::Ended(report) => write!(f, "the connection did not end as asked: {report}"),
            Inner::WouldBlock(_) => {
                f.write_str("the close is still under way; poll its handle and try again")
            }
            Inner::Refused(refusal, _) => write!(f, "cannot end this as a connection: {refusal}"),
            Inner::NotBegun(error, _) => {
                write!(
                    f,
                    "the close did not begin, the socket is untouched: {error}"
                )
            }
            Inner::Unseen(error) => {
                write!(
                    f,
                    "the close is left to the kernel, its fate unseen: {error}"
                )
            }
        }
    }
}

impl fmt::Debug for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Its text says all; there is no source beside it that would repeat it.
impl std::error::Error for CloseError {}

impl From<CloseError> for io::Error {
    /// Keeps the [`CloseError`] as the inner error.
    fn from(error: CloseError) -> Self {
        io::Error::new(error.io_kind(), error)
    }
}

impl Report {
    /// The report as a result: an error where the connection did not end as asked.
    pub(crate) fn into_result(self) -> Result<Self, CloseError> {
        // Detached with an error: one that was to wait, and could not see.
        if self.fate.is_failure() || self.error.is_some() {
            Err(CloseError::ended(self))
        } else {
            Ok(self)
        }
    }
}

impl Errno {
    /// Finds the errno that `error` is of: its own, or that of a [`CloseError`] that is its
    /// inner error.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        let inner = || error.get_ref()?.downcast_ref::<CloseError>()?.errno();
        error.raw_os_error().map(Self::from_raw).or_else(inner)
    }
}
