//! Which connection it is: getsockname(2), getpeername(2).

use std::net::SocketAddr;

use super::socket::BorrowedSocket;
use super::view::view;

/// These systems have no number of a socket that no other has.
pub(crate) fn cookie(_socket: BorrowedSocket<'_>) -> Option<u64> {
    None
}

pub(crate) fn local_address(socket: BorrowedSocket<'_>) -> Option<SocketAddr> {
    view(socket).local_addr().ok()
}

pub(crate) fn peer_address(socket: BorrowedSocket<'_>) -> Option<SocketAddr> {
    view(socket).peer_addr().ok()
}
