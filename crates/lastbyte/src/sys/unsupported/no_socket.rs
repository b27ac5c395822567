//! Sockets where the system has no descriptors: there are none.

use std::marker::PhantomData;

/// Owns a socket; none is ever made.
#[derive(Debug)]
pub struct OwnedSocket(());

/// Borrows a socket.
#[derive(Clone, Copy, Debug)]
pub struct BorrowedSocket<'a>(PhantomData<&'a ()>);

/// Lends a socket.
pub trait AsSocket {
    /// Lends it.
    fn as_socket(&self) -> BorrowedSocket<'_>;
}

/// Whatever lends a socket.
pub(crate) trait HasSocket {
    fn borrowed(&self) -> BorrowedSocket<'_>;
}

impl<T: AsSocket + ?Sized> HasSocket for T {
    fn borrowed(&self) -> BorrowedSocket<'_> {
        self.as_socket()
    }
}

impl AsSocket for OwnedSocket {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        BorrowedSocket(PhantomData)
    }
}

impl AsSocket for BorrowedSocket<'_> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        *self
    }
}

pub(crate) fn forget(_socket: OwnedSocket) {}
