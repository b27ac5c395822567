//! What owns, lends and numbers a socket: a descriptor.

pub(crate) use std::os::fd::{
    AsFd as AsSocket, BorrowedFd as BorrowedSocket, OwnedFd as OwnedSocket, RawFd as RawSocket,
};
use std::os::fd::{AsRawFd, IntoRawFd};

/// Whatever lends a socket: all that is [`AsSocket`], and types of this crate that are not.
pub(crate) trait HasSocket {
    fn borrowed(&self) -> BorrowedSocket<'_>;

    /// Its number, which holds no claim on it.
    fn raw(&self) -> RawSocket {
        self.borrowed().as_raw_fd()
    }
}

impl<T: AsSocket + ?Sized> HasSocket for T {
    fn borrowed(&self) -> BorrowedSocket<'_> {
        self.as_fd()
    }
}

/// Gives the claim on a socket up without closing it.
pub(crate) fn forget(socket: OwnedSocket) {
    let _ = socket.into_raw_fd();
}
