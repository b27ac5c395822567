//! Closes that did not end as asked, or did not begin.

use std::fmt;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

use crate::closing::Closing;
use crate::errno::Errno;
use crate::report::{Fate, Report};

/// A close that did not end as asked. Nothing is lost in it: it carries the
/// [`Report`] of a close that ended badly, the [`Closing`] of one that goes on,
/// or the socket of one that never began.
///
/// Converts into [`io::Error`] with the contract's errno (`EWOULDBLOCK` when the
/// time ran out, `ECONNRESET` …). The errno is all that an `io::Error` has room for:
/// with `?` in a function that returns one, the report is gone, and a socket that was
/// refused is closed by its drop, in the plain way. Look at the error first where
/// either matters.
#[derive(Debug)]
pub struct CloseError(Box<Kind>);

#[derive(Debug)]
enum Kind {
    Ended(Report),
    WouldBlock(Option<Closing>),
    Refused(Refusal, Option<OwnedFd>),
    Resources(io::Error, Option<OwnedFd>),
}

/// Why a descriptor cannot be closed as a TCP connection. It was not touched.
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
    /// The errno that says the same.
    #[must_use]
    pub const fn errno(self) -> Errno {
        Errno::from_raw(match self {
            Refusal::BadDescriptor => libc::EBADF,
            Refusal::NotASocket => libc::ENOTSOCK,
            Refusal::NotTcp => libc::EPROTOTYPE,
            Refusal::Mptcp => libc::EPROTONOSUPPORT,
            Refusal::Listening => libc::EINVAL,
            Refusal::Connecting => libc::EINPROGRESS,
            Refusal::NotConnected => libc::ENOTCONN,
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

impl CloseError {
    pub(crate) fn ended(report: Report) -> Self {
        Self(Box::new(Kind::Ended(report)))
    }

    pub(crate) fn still_closing(closing: Option<Closing>) -> Self {
        Self(Box::new(Kind::WouldBlock(closing)))
    }

    pub(crate) fn refused(refusal: Refusal, socket: OwnedFd) -> Self {
        let socket = if refusal == Refusal::BadDescriptor {
            // Not open, so there is nothing to give back, and closing the number
            // could close somebody else's descriptor.
            let _ = socket.into_raw_fd();
            None
        } else {
            Some(socket)
        };
        Self(Box::new(Kind::Refused(refusal, socket)))
    }

    pub(crate) fn resources(error: io::Error, socket: OwnedFd) -> Self {
        Self(Box::new(Kind::Resources(error, Some(socket))))
    }

    /// The kernel no longer lets us see how an ending goes on; it is left to it.
    pub(crate) fn lost_sight(error: io::Error) -> Self {
        Self(Box::new(Kind::Resources(error, None)))
    }

    /// Whether the connection is left to the kernel, and how it ends there is not seen.
    pub(crate) fn is_unseen(&self) -> bool {
        matches!(&*self.0, Kind::Resources(_, None))
    }

    /// What became of the bytes, when the connection has ended.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match &*self.0 {
            Kind::Ended(report) => Some(report),
            _ => None,
        }
    }

    /// The fate in the report, when the connection has ended.
    #[must_use]
    pub fn fate(&self) -> Option<Fate> {
        self.report().map(|report| report.fate)
    }

    /// Whether the close is still under way: nothing failed, try again when the
    /// handle's descriptor is readable.
    #[must_use]
    pub fn would_block(&self) -> bool {
        matches!(&*self.0, Kind::WouldBlock(_))
    }

    /// Why the descriptor was refused, if it was.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match &*self.0 {
            Kind::Refused(refusal, _) => Some(*refusal),
            _ => None,
        }
    }

    /// The handle of a close that goes on, from [`close`](crate::close()) on a
    /// non-blocking socket. If it is dropped instead, the close goes on in the
    /// background.
    #[must_use]
    pub fn into_closing(self) -> Option<Closing> {
        match *self.0 {
            Kind::WouldBlock(closing) => closing,
            _ => None,
        }
    }

    /// The socket of a close that never began: refused, or no resources. `None`
    /// also for a descriptor that was not open.
    #[must_use]
    pub fn into_socket(self) -> Option<OwnedFd> {
        match *self.0 {
            Kind::Refused(_, socket) | Kind::Resources(_, socket) => socket,
            _ => None,
        }
    }

    /// The contract's errno.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match &*self.0 {
            Kind::Ended(report) => report.error,
            Kind::WouldBlock(_) => Some(Errno::EWOULDBLOCK),
            Kind::Refused(refusal, _) => Some(refusal.errno()),
            Kind::Resources(error, _) => error.raw_os_error().map(Errno::from_raw),
        }
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Ended(report) => write!(f, "the connection did not end as asked: {report}"),
            Kind::WouldBlock(_) => {
                f.write_str("the close is still under way; poll its handle and try again")
            }
            Kind::Refused(refusal, _) => write!(f, "cannot end this as a connection: {refusal}"),
            Kind::Resources(error, Some(_)) => {
                write!(
                    f,
                    "the close did not begin, the socket is untouched: {error}"
                )
            }
            Kind::Resources(error, None) => {
                write!(
                    f,
                    "the close is left to the kernel, its fate unseen: {error}"
                )
            }
        }
    }
}

impl std::error::Error for CloseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Resources(error, _) => Some(error),
            _ => None,
        }
    }
}

impl From<CloseError> for io::Error {
    /// The errno alone; see [`CloseError`].
    fn from(error: CloseError) -> Self {
        match error.errno() {
            Some(errno) => errno.into(),
            None => io::Error::other(error.to_string()),
        }
    }
}
