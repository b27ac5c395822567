//! The socket of a connection that is closed on tokio.

use std::io;

use ::tokio::net::TcpStream;

use super::timer;
use crate::error::CloseError;
use crate::sys::{BorrowedSocket, HasSocket, NoLook, OwnedSocket};

/// A connection, and whether the reactor watches it already.
pub(super) enum Socket {
    Stream(TcpStream),
    /// By a listener that is known to be one of TCP.
    Accepted(TcpStream),
    Fd(OwnedSocket),
}

impl Socket {
    pub(super) fn watched(&self) -> Option<&TcpStream> {
        match self {
            Socket::Stream(stream) | Socket::Accepted(stream) => Some(stream),
            Socket::Fd(_) => None,
        }
    }

    /// The descriptor, in the reactor; unless that fails, and leaves it as it is.
    pub(super) fn into_watched(self) -> Self {
        let Socket::Fd(fd) = self else { return self };
        // A failure would close the connection, but not this.
        let Ok(spare) = fd.try_clone() else {
            return Socket::Fd(fd);
        };
        match timer::register(|| TcpStream::from_std(fd.into())) {
            Ok(stream) => Socket::Accepted(stream),
            Err(_) => Socket::Fd(spare),
        }
    }

    /// The descriptor, out of the reactor.
    pub(super) fn into_fd(self) -> io::Result<OwnedSocket> {
        Ok(match self {
            Socket::Stream(stream) | Socket::Accepted(stream) => stream.into_std()?.into(),
            Socket::Fd(fd) => fd,
        })
    }
}

impl HasSocket for Socket {
    fn borrowed(&self) -> BorrowedSocket<'_> {
        match self {
            Socket::Stream(stream) | Socket::Accepted(stream) => stream.borrowed(),
            Socket::Fd(fd) => fd.borrowed(),
        }
    }
}

/// The error of a close that did not begin, with the socket.
pub(super) fn refused(no_look: NoLook, socket: Socket) -> CloseError {
    match (no_look, socket.into_fd()) {
        (NoLook::Refused(refusal), Ok(fd)) => CloseError::refused(refusal, fd),
        (NoLook::Failed(error), Ok(fd)) => CloseError::resources(error, fd),
        (_, Err(error)) => CloseError::lost_sight(error),
    }
}
