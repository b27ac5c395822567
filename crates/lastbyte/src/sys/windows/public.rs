//! What the public types lend on this system: an event object, and a socket for WSAPoll.

use std::os::windows::io::{
    AsHandle, AsRawHandle, AsRawSocket, AsSocket, BorrowedHandle, BorrowedSocket, RawHandle,
    RawSocket,
};

use super::socket::HasSocket;
use crate::closing::Closing;
#[cfg(feature = "tokio")]
use crate::on_tokio::Stream;

impl AsHandle for Closing {
    /// Returns an event object (WaitForSingleObject) that is set when `try_finish` has something
    /// to do.
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.watch().1.event()
    }
}

impl AsRawHandle for Closing {
    fn as_raw_handle(&self) -> RawHandle {
        self.as_handle().as_raw_handle()
    }
}

impl AsSocket for Closing {
    /// Returns the socket to be polled for readability (WSAPoll, select); it is not the
    /// connection's.
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.watch().1.borrowed()
    }
}

impl AsRawSocket for Closing {
    fn as_raw_socket(&self) -> RawSocket {
        self.as_socket().as_raw_socket()
    }
}

#[cfg(feature = "tokio")]
impl AsSocket for Stream {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.tcp().as_socket()
    }
}

#[cfg(feature = "tokio")]
impl AsRawSocket for Stream {
    fn as_raw_socket(&self) -> RawSocket {
        self.tcp().as_raw_socket()
    }
}
