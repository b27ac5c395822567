//! A socket whose owner is elsewhere.

use super::{BorrowedSocket, HasSocket, RawSocket};

/// The number of a socket that somebody else owns.
///
/// It is kept behind a lock, and the owner takes it from there, under the lock, before it
/// closes the socket. Whoever finds it there and keeps the lock may use the socket.
#[derive(Debug)]
pub(crate) struct Unowned(RawSocket);

impl Unowned {
    pub(crate) fn of(socket: &impl HasSocket) -> Self {
        Self(socket.raw())
    }

    /// Lends the socket while the lock is held, which `&self` comes from.
    pub(crate) fn borrowed(&self) -> BorrowedSocket<'_> {
        // SAFETY: the owner takes the number out before it closes the socket, and cannot
        // do so while the lock is held.
        unsafe { BorrowedSocket::borrow_raw(self.0) }
    }
}
