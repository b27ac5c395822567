//! Linux.

mod address;
#[path = "../unix/code.rs"]
pub(crate) mod code;
mod destroyed;
mod edges;
mod filter;
mod hint;
mod input;
#[path = "../unix/limit.rs"]
mod limit;
#[cfg(feature = "tokio")]
mod listener;
mod look;
#[cfg(feature = "tokio")]
mod nested;
#[path = "../unix/nonblocking.rs"]
mod nonblocking;
mod option;
#[path = "../unix/public.rs"]
mod public;
#[path = "../unix/socket.rs"]
mod socket;
#[path = "../unix/sockopt.rs"]
mod sockopt;
mod stream;
mod timer;
mod trim_ahead;
#[cfg(feature = "io-uring")]
mod uring;
mod waker;

pub(crate) use address::{cookie, local_address, peer_address};
pub(crate) use destroyed::{Destroyed, Notice, Overrun};
pub(crate) use edges::{Edges, Event};
pub(crate) use filter::{freeze, trim};
pub(crate) use limit::descriptor_limit;
#[cfg(feature = "tokio")]
pub(crate) use listener::backlog;
pub(crate) use look::{first_look, identify, look};
#[cfg(feature = "tokio")]
pub(crate) use look::{first_look_at_tcp, is_tcp};
#[cfg(feature = "tokio")]
pub(crate) use nested::Nested;
pub(crate) use nonblocking::is_nonblocking;
pub(crate) use option::{LINGER_FORM, linger, set_linger};
#[cfg(feature = "tokio")]
pub(crate) use socket::RawSocket;
pub(crate) use socket::{AsSocket, BorrowedSocket, HasSocket, OwnedSocket, forget};
#[cfg(feature = "tokio")]
pub(crate) use stream::{Throttled, freeze_if_settled, throttle, unthrottle};
pub(crate) use stream::{abort, close, send_fin, shut_down};
pub(crate) use timer::Timer;
pub(crate) use trim_ahead::{trim_ahead, untrim};
#[cfg(feature = "io-uring")]
pub(crate) use uring::Ring;
pub(crate) use waker::Waker;

/// Edges show a FIN's acknowledgement.
#[cfg(feature = "tokio")]
pub(crate) const LOOKS_EVERY: Option<std::time::Duration> = None;
