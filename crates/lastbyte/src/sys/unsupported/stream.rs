//! What an ending asks of a connection.

use std::io;
use std::net::{Shutdown, SocketAddr};

use super::super::{Filters, Look, NoLook};
use super::code;
use super::socket::{BorrowedSocket, HasSocket};
use super::unsupported;
use crate::ending::{NoCount, Observation};
use crate::errno::Errno;
use crate::linger::RawLinger;

const UNSUPPORTED: Errno = Errno::from_raw(code::EOPNOTSUPP);

pub(crate) fn first_look(_socket: BorrowedSocket<'_>) -> Result<Observation, NoLook> {
    Err(NoLook::Failed(io::ErrorKind::Unsupported.into()))
}

#[cfg(feature = "tokio")]
pub(crate) fn first_look_at_tcp(socket: BorrowedSocket<'_>) -> Result<Observation, NoLook> {
    first_look(socket)
}

#[cfg(feature = "tokio")]
pub(crate) fn is_tcp(_socket: BorrowedSocket<'_>) -> io::Result<bool> {
    unsupported()
}

pub(crate) fn look(_socket: BorrowedSocket<'_>, _allowance: u64, _how: Look) -> Observation {
    Observation {
        queued: Err(NoCount::Refused(UNSUPPORTED)),
        input: None,
        detail: None,
    }
}

pub(crate) fn linger(_socket: BorrowedSocket<'_>) -> io::Result<RawLinger> {
    unsupported()
}

pub(crate) fn set_linger(_socket: BorrowedSocket<'_>, _raw: RawLinger) -> io::Result<()> {
    unsupported()
}

pub(crate) fn is_nonblocking(_socket: BorrowedSocket<'_>) -> io::Result<bool> {
    unsupported()
}

pub(crate) fn send_fin(_socket: BorrowedSocket<'_>) -> Result<(), Errno> {
    Err(UNSUPPORTED)
}

pub(crate) fn shut_down(_socket: BorrowedSocket<'_>, _how: Shutdown) -> io::Result<()> {
    unsupported()
}

pub(crate) fn abort(_socket: impl HasSocket) -> Result<(), Errno> {
    Err(UNSUPPORTED)
}

pub(crate) fn close(_socket: impl HasSocket, _filters: Filters) {}

pub(crate) fn descriptor_limit() -> Option<usize> {
    None
}

pub(crate) fn cookie(_socket: BorrowedSocket<'_>) -> Option<u64> {
    None
}

pub(crate) fn local_address(_socket: BorrowedSocket<'_>) -> Option<SocketAddr> {
    None
}

pub(crate) fn peer_address(_socket: BorrowedSocket<'_>) -> Option<SocketAddr> {
    None
}
