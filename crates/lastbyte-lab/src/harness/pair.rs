//! Connections between us and the peer, over loopback.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::pattern::pattern;
use super::{Conn, Peer};

/// How a connection is made. The default: IPv4, we connect, buffers as the
/// system makes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Over IPv6.
    pub v6: bool,
    /// The peer connects and we accept.
    pub we_accept: bool,
    /// SO_RCVBUF of the peer: a small one makes its window close early.
    pub peer_buffer: Option<usize>,
    /// SO_SNDBUF of ours.
    pub our_buffer: Option<usize>,
}

/// An established connection: our descriptor, which a close consumes, and the
/// peer.
#[derive(Debug)]
pub struct Pair {
    /// Our end.
    pub ours: OwnedFd,
    /// The other end.
    pub peer: Peer,
    /// Both addresses, ours first.
    pub conn: Conn,
}

impl Pair {
    /// A new connection.
    ///
    /// # Errors
    /// Those of the socket calls: no loopback, no ports, no descriptors left.
    pub fn new(setup: Setup) -> io::Result<Self> {
        Crowd::new(setup)?.pair()
    }
}

/// A listener from which any number of connections come.
#[derive(Debug)]
pub struct Crowd {
    setup: Setup,
    listener: Socket,
    address: SockAddr,
}

impl Crowd {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// Those of the socket calls.
    pub fn new(setup: Setup) -> io::Result<Self> {
        let at: SocketAddr = if setup.v6 {
            (Ipv6Addr::LOCALHOST, 0).into()
        } else {
            (Ipv4Addr::LOCALHOST, 0).into()
        };
        let listener = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
        // Buffers of accepted sockets are the listener's.
        size_buffers(&listener, setup, setup.we_accept)?;
        listener.bind(&at.into())?;
        listener.listen(128)?;
        let address = listener.local_addr()?;
        Ok(Self {
            setup,
            listener,
            address,
        })
    }

    /// One connection more.
    ///
    /// # Errors
    /// Those of the socket calls.
    pub fn pair(&self) -> io::Result<Pair> {
        let connecting = Socket::new(self.address.domain(), Type::STREAM, None)?;
        size_buffers(&connecting, self.setup, !self.setup.we_accept)?;
        connecting.connect(&self.address)?;
        let (accepted, _) = self.listener.accept()?;
        let (ours, peer) = if self.setup.we_accept {
            (accepted, connecting)
        } else {
            (connecting, accepted)
        };
        let conn = Conn {
            ours: address(&ours.local_addr()?)?,
            peer: address(&ours.peer_addr()?)?,
        };
        // Nothing that the harness itself does may hang.
        peer.set_write_timeout(Some(Duration::from_secs(1)))?;
        Ok(Pair {
            ours: ours.into(),
            peer: Peer::new(peer),
            conn,
        })
    }
}

fn size_buffers(socket: &Socket, setup: Setup, ours: bool) -> io::Result<()> {
    if ours {
        setup
            .our_buffer
            .map_or(Ok(()), |n| socket.set_send_buffer_size(n))
    } else {
        setup
            .peer_buffer
            .map_or(Ok(()), |n| socket.set_recv_buffer_size(n))
    }
}

fn address(address: &SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::Error::other("a TCP socket without an IP address"))
}

/// Returns whether the loopback interface speaks IPv6; a kernel may be without it.
#[must_use]
pub fn has_ipv6() -> bool {
    std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Queues up to `bytes` bytes of the pattern on a fresh connection, as many as
/// the send queue takes now, and returns how many.
///
/// # Errors
/// Those of send(2) other than a full queue.
pub fn fill(ours: &OwnedFd, bytes: usize) -> io::Result<u64> {
    fill_from(ours, 0, bytes)
}

/// [`fill`] on a connection that has carried `before` bytes already.
///
/// # Errors
/// Those of [`fill`].
pub fn fill_from(ours: &OwnedFd, before: u64, bytes: usize) -> io::Result<u64> {
    let block: Vec<u8> = (before..before + bytes as u64).map(pattern).collect();
    let socket = SockRef::from(ours);
    let mut sent = 0;
    while sent < bytes {
        match socket.send_with_flags(&block[sent..], libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) {
            Ok(n) => sent += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(sent as u64)
}
