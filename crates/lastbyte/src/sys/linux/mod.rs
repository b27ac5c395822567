//! Linux.

mod address;
pub(crate) mod code;
mod destroyed;
mod edges;
mod filter;
mod hint;
mod input;
mod limit;
#[cfg(feature = "tokio")]
mod listener;
mod look;
mod option;
mod public;
mod socket;
mod stream;
mod timer;
#[cfg(feature = "io-uring")]
mod uring;
mod waker;

pub(crate) use address::{cookie, local_address, peer_address};
pub(crate) use destroyed::{Destroyed, Notice, Overrun};
pub(crate) use edges::{Edges, Event, Readiness};
pub(crate) use filter::{freeze, trim, trim_ahead, untrim};
pub(crate) use limit::descriptor_limit;
#[cfg(feature = "tokio")]
pub(crate) use listener::backlog;
pub(crate) use look::{Look, NoLook, first_look, identify, look};
#[cfg(feature = "tokio")]
pub(crate) use look::{first_look_at_tcp, is_tcp};
pub(crate) use option::{linger, set_linger};
#[cfg(feature = "tokio")]
pub(crate) use socket::RawSocket;
pub(crate) use socket::{AsSocket, BorrowedSocket, HasSocket, OwnedSocket, forget};
pub(crate) use stream::{Filters, abort, close, is_nonblocking, send_fin, shut_down};
#[cfg(feature = "tokio")]
pub(crate) use stream::{Throttled, freeze_if_settled, throttle, unthrottle};
pub(crate) use timer::Timer;
#[cfg(feature = "io-uring")]
pub(crate) use uring::Ring;
pub(crate) use waker::Waker;
