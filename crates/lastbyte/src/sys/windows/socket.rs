//! What owns, lends and numbers a socket: a handle of Winsock's.

use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::os::windows::io::{AsRawSocket, FromRawSocket, IntoRawSocket};

#[cfg(feature = "tokio")]
pub(crate) use std::os::windows::io::RawSocket;
pub(crate) use std::os::windows::io::{AsSocket, BorrowedSocket, OwnedSocket};
use windows_sys::Win32::Networking::WinSock::SOCKET;

/// Whatever lends a socket: all that is [`AsSocket`], and types of this crate that are not.
pub(crate) trait HasSocket {
    fn borrowed(&self) -> BorrowedSocket<'_>;

    /// Its number, which holds no claim on it.
    #[cfg(feature = "tokio")]
    fn raw(&self) -> RawSocket {
        self.borrowed().as_raw_socket()
    }
}

impl<T: AsSocket + ?Sized> HasSocket for T {
    fn borrowed(&self) -> BorrowedSocket<'_> {
        self.as_socket()
    }
}

/// Gives the claim on a socket up without closing it.
pub(crate) fn forget(socket: OwnedSocket) {
    let _ = socket.into_raw_socket();
}

/// The number as Winsock's functions take it.
pub(super) fn number(socket: BorrowedSocket<'_>) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}

/// The standard library's view of a socket that stays its owner's.
pub(super) fn view(socket: BorrowedSocket<'_>) -> ManuallyDrop<TcpStream> {
    // SAFETY: the socket is open while it is borrowed, and the view never closes it.
    ManuallyDrop::new(unsafe { TcpStream::from_raw_socket(socket.as_raw_socket()) })
}
