//! Closes connections on tokio's reactor (feature `tokio`).
//!
//! The module is not called `tokio`, so that `use lastbyte::*` leaves `tokio::spawn` what
//! it is.
//!
//! | | for |
//! |---|---|
//! | [`close`] | one stream, where the program closes it: awaited, it returns what became of the bytes |
//! | [`Stream`] | a stream that somebody else drops: it ends as its policy says |
//! | [`Listener`] | a server: all its connections are such streams, each is reported, and a [shutdown](Handle::shutdown) gives the sums |
//!
//! Everything runs on the reactor of the runtime it is used in; there is no thread
//! beside it, except that what a runtime leaves behind when it ends, or cannot wait for,
//! goes to the [background closer](crate::background), which still reports it.
//!
//! Deadlines go by the runtime's clock. Where a test pauses it, what is on its way gets a
//! moment of real time (100 ms) before a deadline counts.
//!
//! A runtime needs time and IO. tokio does not say whether it was built with them but by
//! a panic, which is caught: its message may appear, and what cannot be done without is
//! an error (`Unsupported`).
//!
//! ```
//! use std::time::Duration;
//! use lastbyte::{Fate, Policy};
//! # use tokio::io::AsyncWriteExt;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let mut stream = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
//! # let (_peer, _) = listener.accept().await?;
//! stream.write_all(b"the last bytes").await?;
//! let report = lastbyte::on_tokio::close(stream, Policy::wait(Duration::from_secs(5))).await?;
//! assert_eq!((report.fate, report.acked), (Fate::Delivered, Some(14)));
//! # Ok(()) }
//! ```
//!
//! # axum
//!
//! With feature `axum`, a server whose clients lose their answers when it closes
//! with input unread (a 413, an early 401) needs one line changed:
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```text")]
//! # async fn serve(app: axum::Router) -> std::io::Result<()> {
//! use lastbyte::Policy;
//! use lastbyte::on_tokio::Listener;
//!
//! let tcp = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! // was: axum::serve(tcp, app).await
//! axum::serve(Listener::new(tcp, Policy::off()), app).await
//! # }
//! ```
//!
//! Where handlers ask for `ConnectInfo<SocketAddr>`, axum wants to have tapped the
//! listener before it gives the address of one that is not tokio's:
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```text")]
//! # async fn serve(tcp: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
//! use axum::serve::ListenerExt;
//! # use {lastbyte::Policy, lastbyte::on_tokio::Listener, std::net::SocketAddr};
//!
//! let listener = Listener::new(tcp, Policy::off()).tap_io(|_| {});
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
//! # }
//! ```
//!
//! # A deploy
//!
//! [`Handle::shutdown`] closes the listener, gives what is open its time, and says
//! what every client got:
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```text")]
//! # use {lastbyte::Policy, lastbyte::on_tokio::Listener, std::future::IntoFuture, std::time::Duration};
//! # async fn serve(tcp: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
//! let listener = Listener::new(tcp, Policy::wait(Duration::from_secs(60)));
//! let handle = listener.handle();
//! let server = axum::serve(listener, app).with_graceful_shutdown(handle.draining());
//! tokio::spawn(server.into_future());
//!
//! tokio::signal::ctrl_c().await?;
//! let drained = handle.shutdown(Duration::from_secs(10)).await;
//! println!("{}", drained.sums);
//! # Ok(()) }
//! ```
//!
//! # hyper
//!
//! A [`Stream`] reads and writes as tokio's own does, so hyper takes it where it
//! takes that:
//!
//! ```no_run
//! # use std::convert::Infallible;
//! # use {hyper::{Request, Response, body::Incoming, service::service_fn}, hyper_util::rt::TokioIo};
//! # async fn answer(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
//! #     Ok(Response::new("hello".to_owned()))
//! # }
//! # async fn serve() -> std::io::Result<()> {
//! use lastbyte::Policy;
//! use lastbyte::on_tokio::Listener;
//!
//! let mut listener = Listener::bind("127.0.0.1:8080", Policy::off()).await?;
//! while let Some((stream, _peer)) = listener.accept().await? {
//!     let http = hyper::server::conn::http1::Builder::new();
//!     tokio::spawn(http.serve_connection(TokioIo::new(stream), service_fn(answer)));
//! }
//! # Ok(()) }
//! ```
//!
//! # hyper-util and tonic
//!
//! With feature `hyper-util` a [`Stream`] is a connection of its legacy client (the trait
//! `Connection`); a response's extensions then have the
//! [`lastbyte::Connection`](crate::Connection). With feature `tonic` a listener's
//! `incoming()` is what `serve_with_incoming` takes (the trait `Connected`), and a
//! request's `remote_addr()` is known:
//!
#![cfg_attr(feature = "tonic", doc = "```no_run")]
#![cfg_attr(not(feature = "tonic"), doc = "```text")]
//! # async fn serve(routes: tonic::service::Routes) -> Result<(), Box<dyn std::error::Error>> {
//! use lastbyte::Policy;
//! use lastbyte::on_tokio::Listener;
//!
//! let listener = Listener::bind("127.0.0.1:50051", Policy::off()).await?;
//! let handle = listener.handle();
//! tonic::transport::Server::builder()
//!     .serve_with_incoming_shutdown(routes, listener.incoming(), handle.draining())
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! # Reports
//!
//! [`Listener::on_report`] takes a hook that sees each connection's report, and
//! [`lastbyte::on_report`](crate::on_report()) one for every form of close, dropped
//! [`Stream`]s included. With feature `tracing` there is an event for each as well,
//! target `lastbyte`: at level INFO where the ending failed, at DEBUG where it did not.
//! [`Handle::sums`] has the sums of all so far.

#[cfg(feature = "axum")]
mod axum;
mod close;
#[cfg(any(feature = "hyper-util", feature = "tonic"))]
mod connected;
mod handle;
#[cfg(feature = "stream")]
mod incoming;
mod listener;
mod registry;
mod socket;
mod stream;
mod sweeper;
mod task;
mod timer;
mod watch;

pub use close::{Closable, Close, close};
pub use handle::Handle;
#[cfg(feature = "stream")]
pub use incoming::Incoming;
pub use listener::Listener;
pub use stream::Stream;
