//! # Getting the descriptor out of each runtime
//!
//! A close takes what owns the connection: anything that is `Into<OwnedFd>`. Each
//! runtime gives it up in its own way, and a wrapper above it has to be finished first
//! ([`layers`](super::layers)).
//!
//! | you have | you write | it |
//! |---|---|---|
//! | `std::net::TcpStream`, `socket2::Socket`, `OwnedFd` | `stream` | is taken as it is |
//! | `mio::net::TcpStream` | `registry.deregister(&mut stream)?`, then `stream` | would be woken by the old registration otherwise |
//! | `tokio::net::TcpStream` | `on_tokio::close(stream, policy)` | stays in its reactor; `stream.into_std()?` takes it out |
//! | `smol::Async<TcpStream>` (async-io) | `stream.into_inner()?` | leaves the reactor |
//! | `smol::net::TcpStream` (async-net) | `Arc::<Async<_>>::from(stream)`, `Arc::into_inner`, `into_inner()?` | works where no clone is left |
//! | `compio::net::TcpStream`, and any other | `stream.as_fd().try_clone_to_owned()?`, then `drop(stream)` | is a duplicate; the close ends the connection of both |
//! | a raw number, from C | `OwnedFd::from_raw_fd(fd)` (unsafe) | must be yours to close |
//!
//! What was non-blocking stays so: [`close`](crate::close()) with a wait then returns a
//! [`Closing`](crate::Closing) instead of waiting. A [`Closer`](crate::Closer) does not
//! care.
//!
//! ```
//! use std::os::fd::{AsFd, OwnedFd};
//! use std::sync::Arc;
//! # use std::net::TcpListener;
//! # use std::time::Duration;
//! use lastbyte::{Closer, Fate, Policy};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! # let policy = Policy::wait(Duration::from_secs(5));
//! let closer = Closer::new()?;
//!
//! // async-net, of smol
//! smol::block_on(async {
//!     let stream = smol::net::TcpStream::connect(address).await?;
//!     # let (_peer, _) = listener.accept()?;
//!     let shared = Arc::<smol::Async<std::net::TcpStream>>::from(stream);
//!     let stream = Arc::into_inner(shared).ok_or("a clone is left")?.into_inner()?;
//!     let report = closer.finish(stream, policy).await?;
//!     assert_eq!(report.fate, Fate::Delivered);
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//!
//! // Whatever gives a descriptor to look at and none to own
//! let stream = socket2::Socket::from(std::net::TcpStream::connect(address)?);
//! # let (_peer, _) = listener.accept()?;
//! let duplicate: OwnedFd = stream.as_fd().try_clone_to_owned()?;
//! drop(stream);
//! assert_eq!(lastbyte::close(duplicate, policy)?.fate, Fate::Delivered);
//! # Ok(()) }
//! ```
