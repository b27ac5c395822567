//! A socket that another thread makes readable: UDP, connected to itself.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::windows::io::AsSocket;

use super::socket::{BorrowedSocket, HasSocket};

pub(crate) struct Waker(UdpSocket);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        // Nobody else's datagrams come in then.
        socket.connect(socket.local_addr()?)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// It fails only when the queue is full, and then the socket is readable already.
    pub(crate) fn wake(&self) {
        let _ = self.0.send(&[1]);
    }

    /// Unreadable until the next [`wake`](Self::wake).
    pub(crate) fn reset(&self) {
        while self.0.recv(&mut [0; 8]).is_ok() {}
    }
}

impl HasSocket for Waker {
    fn borrowed(&self) -> BorrowedSocket<'_> {
        self.0.as_socket()
    }
}
