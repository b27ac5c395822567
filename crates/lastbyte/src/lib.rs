//! Closes TCP connections and reports what became of the last byte.
//!
//! Every manual describes `SO_LINGER` the same way: *off*, close returns at once
//! and the data is still delivered; *on with 0*, the connection is reset and what
//! is queued is discarded; *on with N*, close waits until data and FIN are
//! acknowledged, or fails with `EWOULDBLOCK` and discards the rest; and a
//! non-blocking socket is never blocked. No operating system keeps all of that
//! ([`manual::kernels`] says which breaks what). This crate does:
//!
//! ```
//! use std::time::Duration;
//! use lastbyte::{Fate, Linger};
//!
//! # fn main() -> std::io::Result<()> {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # let (_peer, _) = listener.accept()?;
//! match lastbyte::close(stream, Linger::Wait(Duration::from_secs(5))) {
//!     Ok(report) => assert_eq!(report.lost, Some(0)), // data and FIN acknowledged
//!     Err(error) => match error.report() {
//!         Some(report) => println!("{}: lost {:?} bytes", report.fate, report.lost),
//!         None => println!("{error}"), // no connection, or no resources: untouched
//!     },
//! }
//! # Ok(()) }
//! ```
//!
//! # Which form
//!
//! | you have | call | it |
//! |---|---|---|
//! | a thread that may wait | [`close`] | waits, without polling |
//! | an event loop | [`Closing`] | gives you a descriptor to poll, and [`try_finish`](Closing::try_finish) |
//! | async code, on any executor | [`Closer::finish`] | is a future of the report |
//! | tokio | `on_tokio` (feature `tokio`) | does the same on the runtime's reactor, and has streams and listeners |
//! | thousands to close | [`Closer`] | ends them on one thread, each with its own deadline and report |
//!
//! All take anything that owns a connected TCP socket (`TcpStream`, a
//! `socket2::Socket`, an [`OwnedFd`](std::os::fd::OwnedFd)) and how to end it:
//! a [`Linger`], a [`Policy`] with more to say, or [`Policy::from_socket`] for
//! what the socket's own option says.
//!
//! # What comes back
//!
//! `Ok` with a [`Report`] when the connection ended as asked. An error that
//! carries the same report when it did not, and that turns into an
//! [`std::io::Error`] with the errno of the contract. Whatever is refused, or
//! cannot begin for want of resources, gives its socket back untouched.
//!
//! Counts are exact to the byte and payload only; what cannot be known is
//! `None`.
//!
//! A program that shuts down its *reading* side before it closes does so with
//! [`shutdown`], not shutdown(2): else what the peer sends in between resets the
//! connection.
//!
//! Above the socket, TLS and a `BufWriter` hold bytes back that no close can see: shut
//! TLS down first, flush first ([`manual::layers`]).
//!
//! # Features
//!
//! All are off by default, and none changes what another part does.
//!
//! | feature | adds | depends on |
//! |---|---|---|
//! | `tokio` | `on_tokio`: closes, streams and listeners on tokio's reactor | tokio |
//! | `axum` | `on_tokio::Listener` for `axum::serve` | axum |
//! | `stream` | `on_tokio::Incoming`: a listener's connections as a `Stream` | futures-core |
//! | `hyper-util` | `on_tokio::Stream` for hyper-util's legacy client (`Connection`) | hyper-util |
//! | `tonic` | `on_tokio::Stream` for tonic's server (`Connected`) | tonic |
//! | `serde` | `Serialize` for reports and sums; also `Deserialize` for [`Policy`] and [`Linger`] | serde |
//! | `tracing` | an event for each report, target `lastbyte` | tracing |
//! | `io-uring` | [`CloserBackend::IoUring`] | io-uring |
//!
//! Without them the crate depends on `libc` and nothing else from outside this project.
//!
//! # Platforms and Rust
//!
//! Linux; and Windows, tested under Wine, where nothing counts the send queue:
//! `docs/windows.md` in the repository has what is different there. Where a kernel is too old for a part, or a sandbox forbids it, that part does
//! the kernel's own close and reports `detached`; the table says what each needs:
//!
//! | | needs |
//! |---|---|
//! | exact [`acked`](Report::acked) | Linux 4.19 (`tcpi_bytes_sent`) |
//! | [`Connection::id`] | Linux 4.12 (`SO_COOKIE`) |
//! | [`Policy::with_receipt`] | Linux 5.14 (`SO_NETNS_COOKIE`) |
//! | [`CloserBackend::IoUring`] | Linux 6.1, and a sandbox that allows io_uring |
//!
//! Rust 1.85. A higher one is a minor release.
//!
//! # Cost
//!
//! | | while it lasts |
//! |---|---|
//! | [`close`], abort, or nothing left to wait for | no descriptor, no thread |
//! | [`close`], off | what [`background`] costs |
//! | [`close`], with a wait | one epoll instance; the calling thread sleeps |
//! | [`Closing`] | three descriptors: the connection, an epoll instance, a timer |
//! | [`Closer`] | one thread, and one descriptor for each connection; with a [receipt](Policy::with_receipt) none |
//! | [`Closer::finish`] | as [`Closer`], and two small allocations |
//! | `on_tokio` | no thread; the descriptor that the reactor has already |
//! | [`background`] | one thread from the first such close on, and one descriptor for each connection |
//!
//! A close costs some system calls more than close(2): a look at the socket, shutdown(2),
//! and one look for each acknowledgement that ends a wait. Nothing polls.
//!
//! # The manual
//!
//! [`manual`] has the contract row by row, what kernels do instead, how an
//! ending works, what exits and forks mean for it, what lies above the socket, and how to
//! get the descriptor out of each runtime's stream.

#![cfg_attr(
    not(any(target_os = "linux", windows)),
    allow(
        dead_code,
        unused_imports,
        reason = "a system that tells less needs less"
    )
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench;
mod blocking;
mod closer;
mod closing;
mod connection;
mod contain;
mod detach;
mod driver;
mod ending;
mod errno;
mod error;
mod hook;
mod linger;
pub mod manual;
#[cfg(feature = "tokio")]
pub mod on_tokio;
mod policy;
mod report;
mod shutting;
mod sums;
mod sys;

pub use blocking::close;
pub use closer::background::{Background, background};
pub use closer::{
    Closer, CloserBackend, CloserBuilder, ConnectionReport, DrainReport, Finish, WaitError,
};
pub use closing::Closing;
pub use connection::Connection;
pub use errno::Errno;
pub use error::{CloseError, CloseErrorKind, Refusal};
pub use hook::{HookError, on_report};
pub use linger::{Linger, LingerForm, LingerRangeError, RawLinger};
pub use policy::{Policy, PolicyError};
pub use report::{Fate, Report, Side};
pub use shutting::shutdown;
pub use sums::{Sums, Total};
