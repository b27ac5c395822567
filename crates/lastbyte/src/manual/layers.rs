//! # What lies above the socket
//!
//! The contract is about the bytes that send(2) accepted. What a layer above still holds
//! back was never given to TCP: no close can deliver it, and no report counts it. Finish
//! each layer from the top down, then close.
//!
//! ## BufWriter
//!
//! `std::io::BufWriter` writes what it holds when it is dropped, and loses the error.
//! [`into_inner`](std::io::BufWriter::into_inner) flushes, says whether that worked, and
//! gives the stream back:
//!
//! ```
//! use std::io::{BufWriter, Write};
//! # use std::net::{TcpListener, TcpStream};
//! # use std::time::Duration;
//! use lastbyte::Policy;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let stream = TcpStream::connect(listener.local_addr()?)?;
//! # let (_peer, _) = listener.accept()?;
//! let mut writer = BufWriter::new(stream);
//! writer.write_all(b"the last byte")?;
//! let stream = writer.into_inner()?; // an IntoInnerError has what was not written
//! let report = lastbyte::close(stream, Policy::wait(Duration::from_secs(5)))?;
//! assert_eq!(report.acked, Some(13));
//! # Ok(()) }
//! ```
//!
//! `tokio::io::BufWriter` writes nothing when it is dropped, and its `into_inner` throws
//! away what it holds: call `flush().await` first. So do not wrap a stream in one and
//! count on the drop. A `BufReader` loses what it has read ahead, which is input, and is
//! in no count of unread bytes.
//!
//! ## TLS
//!
//! Shut TLS down first (`close_notify`, RFC 8446 §6.1), then close the connection. Three
//! things are between a program's write and TCP:
//!
//! - **Records in the library's buffer.** rustls encrypts into a buffer of its own, and
//!   writes that when it is asked to (`write_tls`, `complete_io`, `flush`); OpenSSL can
//!   keep a record that the socket did not take. A record that is still there is not in
//!   the send queue: a report of `delivered` with `lost` 0 says nothing about it. Flush
//!   before the close, and on a non-blocking socket go on until the library wants to
//!   write nothing more.
//! - **A record in part.** The peer can decrypt whole records only. A close that times
//!   out with `lost` above 0 can cut one: then the peer has `acked` bytes of TLS, and its
//!   program the records that end before that.
//! - **The peer's answer.** A peer that sends its own `close_notify` after ours sends to
//!   a connection that nobody reads. Plain close(2) resets it for that, and what the peer
//!   has not taken is lost; closes of this library discard the alert (some 24 to 31
//!   bytes) and count it as [`Report::unread`](crate::Report::unread).
//!
//! [`acked`](crate::Report::acked) counts TLS's bytes, headers, padding and alerts
//! included, and not the program's. Without `close_notify` the peer cannot tell the end
//! from an attack that cut it off, whatever became of the bytes; and `close_notify` alone
//! does not say that they arrived: [`with_confirm`](crate::Policy::with_confirm) and an
//! answer of the protocol's own do.
//!
//! In order, with rustls: `conn.send_close_notify()`, `conn.complete_io(&mut stream)`
//! until `conn.wants_write()` is false, then `lastbyte::close(stream, policy)`. With
//! tokio-rustls: `tls.shutdown().await`, which flushes and half-closes, then
//! `on_tokio::close(tls.into_inner().0, policy)`.
//!
//! ## Message layers
//!
//! hyper, tonic and WebSocket libraries have an end of their own (a last chunk, GOAWAY,
//! a close frame). Let them finish, and let the connection end as a policy says when they
//! drop it: that is what `on_tokio::Stream` is for.
