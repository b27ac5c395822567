//! Windows: Winsock 2, and the TCP table of IP Helper.
//!
//! No event of Winsock shows that a FIN was acknowledged, and nothing counts the send queue. So a
//! connection is looked at every [`TICK`], and what is not acknowledged is `Uncounted`.

mod address;
pub(crate) mod code;
#[path = "../absent/destroyed.rs"]
mod destroyed;
mod edges;
#[path = "../absent/filters.rs"]
mod filters;
mod look;
#[cfg(feature = "tokio")]
#[path = "../absent/nested.rs"]
mod nested;
mod option;
mod public;
mod socket;
mod state;
mod stream;
mod table;
mod timer;
#[path = "../absent/uncounted.rs"]
mod uncounted;
mod waker;

use std::time::Duration;

pub(crate) use address::{cookie, local_address, peer_address};
pub(crate) use destroyed::{Destroyed, Notice, Overrun, identify};
pub(crate) use edges::{Edges, Event};
#[cfg(feature = "tokio")]
pub(crate) use filters::{Throttled, backlog, freeze_if_settled, throttle, unthrottle};
pub(crate) use filters::{freeze, trim, trim_ahead, untrim};
pub(crate) use look::{first_look, look};
#[cfg(feature = "tokio")]
pub(crate) use look::{first_look_at_tcp, is_tcp};
#[cfg(feature = "tokio")]
pub(crate) use nested::Nested;
pub(crate) use option::{LINGER_FORM, linger, set_linger};
#[cfg(feature = "tokio")]
pub(crate) use socket::RawSocket;
pub(crate) use socket::{AsSocket, BorrowedSocket, HasSocket, OwnedSocket, forget};
pub(crate) use stream::{abort, close, descriptor_limit, is_nonblocking, send_fin, shut_down};
pub(crate) use timer::Timer;
pub(crate) use waker::Waker;

/// How often connections are looked at: the resolution at which a FIN's acknowledgement shows.
/// The system's own timers may be coarser (15.6 ms, where no program asks for finer ones).
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// No event shows a FIN's acknowledgement.
#[cfg(feature = "tokio")]
pub(crate) const LOOKS_EVERY: Option<Duration> = Some(TICK);
