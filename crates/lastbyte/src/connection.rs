//! Which connection a report is about.

use std::fmt;
use std::net::SocketAddr;

use crate::sys::{self, AsSocket, HasSocket};

/// Identifies a connection in hooks and drains: an id and both addresses.
///
/// A program can ask for it before the close and find the same id in the report's hook:
///
/// ```
/// use std::net::{TcpListener, TcpStream};
/// use lastbyte::Connection;
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// let connection = Connection::of(&stream);
/// assert_eq!(connection.peer, Some(listener.local_addr()?));
/// println!("{connection}"); // 127.0.0.1:40000 to 127.0.0.1:8080, id 4242
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Connection {
    /// The kernel's cookie of the socket (`SO_COOKIE`, socket(7), Linux 4.12), which no
    /// other socket of this machine has until it restarts. `ss -e` prints it after `sk:`
    /// in hexadecimal. `None` where the kernel does not give it.
    pub id: Option<u64>,
    /// The address of this end; `None` where the kernel does not give it.
    pub local: Option<SocketAddr>,
    /// The address of the other end; `None` where the connection was gone already.
    pub peer: Option<SocketAddr>,
}

impl Connection {
    /// Returns what the kernel says of `socket` now: SO_COOKIE, getsockname(2),
    /// getpeername(2). What it does not say is `None`.
    #[must_use]
    pub fn of(socket: &impl AsSocket) -> Self {
        let socket = socket.borrowed();
        Self {
            id: sys::cookie(socket),
            local: sys::local_address(socket),
            peer: sys::peer_address(socket),
        }
    }

    /// As [`of`](Self::of), with the peer's address that accept(2) returned.
    #[cfg(feature = "tokio")]
    pub(crate) fn accepted(socket: &impl AsSocket, peer: SocketAddr) -> Self {
        let socket = socket.borrowed();
        Self {
            id: sys::cookie(socket),
            local: sys::local_address(socket),
            peer: Some(peer),
        }
    }
}

impl fmt::Display for Connection {
    /// Writes `127.0.0.1:40000 to 127.0.0.1:8080, id 4242`, with `unknown` for what is not
    /// known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |f: &mut fmt::Formatter<'_>, address: Option<SocketAddr>| match address {
            Some(address) => write!(f, "{address}"),
            None => f.write_str("unknown"),
        };
        address(f, self.local)?;
        f.write_str(" to ")?;
        address(f, self.peer)?;
        match self.id {
            Some(id) => write!(f, ", id {id}"),
            None => f.write_str(", id unknown"),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Connection {
    /// Writes `id` as a number, and `local` and `peer` as text; null for what is not known.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut s = serializer.serialize_struct("Connection", 3)?;
        s.serialize_field("id", &self.id)?;
        s.serialize_field("local", &self.local.map(|address| address.to_string()))?;
        s.serialize_field("peer", &self.peer.map(|address| address.to_string()))?;
        s.end()
    }
}
