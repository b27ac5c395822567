//! Shutting down a side of a connection so that input cannot reset it.

use std::io;
use std::net::Shutdown;

use crate::sys::{self, AsSocket, HasSocket};

/// Shuts down a side of a connection, as shutdown(2) does, and keeps input from resetting
/// the connection afterwards.
///
/// On Linux, input for a reading side that is shut down makes the kernel reset the
/// connection once our FIN is queued: what the peer sends then costs it what we have
/// sent and it has not received. This keeps such input out first, by a socket filter
/// that lets acknowledgements and FIN in and no data. Closes of this library do so
/// themselves, but only from their beginning on; where the program shuts down its
/// reading earlier (to wake a thread that is blocked in a read, for one), this
/// function does not leave the time in between open.
///
/// Returns `Ok(true)` where data can do no harm, which is always so for
/// [`Shutdown::Write`]. Returns `Ok(false)` where the side is shut down, but the socket
/// has a filter of the program's own, or a locked one, or the kernel refused (some let
/// privileged users alone attach one); a close reports it if the connection is lost by
/// that ([`Report::rst_sent`](crate::Report::rst_sent)).
///
/// What the filter keeps out is acknowledged to nobody and counted by nobody:
/// [`Report::unread`](crate::Report::unread) is `None` then. The peer's FIN can still do
/// harm: where it comes behind data that was kept out, and before the peer has
/// acknowledged everything, the kernel resets the connection. Nothing distinguishes that reset
/// from one of the peer's, so it is reported as `failed`, with
/// [`rst_sent`](crate::Report::rst_sent) `None`.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{Shutdown, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
/// server.write_all(b"goodbye")?;
/// if lastbyte::shutdown(&server, Shutdown::Both)? {
///     client.write_all(b"one more thing")?; // resets a plain connection
/// }
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert_eq!(answer, "goodbye");
/// # Ok(()) }
/// ```
///
/// # Errors
/// Those of shutdown(2): `ENOTCONN`, `ENOTSOCK`. The filter, if one was attached,
/// stays.
///
/// # Sources
/// shutdown(2); socket(7) `SO_ATTACH_FILTER`; `tcp_rcv_state_process`,
/// net/ipv4/tcp_input.c.
#[doc(alias("SHUT_RD", "SHUT_WR", "SHUT_RDWR", "half-close"))]
pub fn shutdown(socket: &impl AsSocket, how: Shutdown) -> io::Result<bool> {
    let safe = match how {
        Shutdown::Write => true,
        Shutdown::Read | Shutdown::Both => sys::trim(socket.borrowed()),
    };
    sys::shut_down(socket.borrowed(), how)?;
    Ok(safe)
}
