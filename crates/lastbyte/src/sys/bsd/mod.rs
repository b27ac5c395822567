//! FreeBSD, NetBSD, OpenBSD and macOS: kqueue(2), and what getsockopt(2) tells of a connection.
//!
//! This was type-checked and its arithmetic tested; it has never run. No event of kqueue's shows
//! that a FIN was acknowledged, so a connection is looked at every [`TICK`]. Nothing keeps input
//! out of a connection here, and nothing counts what was acknowledged.
//!
//! Manual pages: kqueue(2), tcp(4), setsockopt(2), ioctl(2) of FreeBSD 14, NetBSD 10,
//! OpenBSD 7.5; on macOS `bsd/netinet/tcp.h` and `bsd/sys/socket.h` of xnu.

mod address;
// Descriptors and errno(3) are those of every Unix.
#[path = "../unix/code.rs"]
pub(crate) mod code;
#[path = "../absent/destroyed.rs"]
mod destroyed;
mod edges;
#[path = "../absent/filters.rs"]
mod filters;
#[path = "../unix/limit.rs"]
mod limit;
mod look;
#[cfg(feature = "tokio")]
#[path = "../absent/nested.rs"]
mod nested;
#[path = "../unix/nonblocking.rs"]
mod nonblocking;
mod option;
#[path = "../unix/public.rs"]
mod public;
mod queue;
#[path = "../unix/socket.rs"]
mod socket;
#[path = "../unix/sockopt.rs"]
mod sockopt;
mod stream;
mod timer;
#[path = "../absent/uncounted.rs"]
mod uncounted;
mod view;
mod waker;

use std::time::Duration;

pub(crate) use address::{cookie, local_address, peer_address};
pub(crate) use destroyed::{Destroyed, Notice, Overrun, identify};
pub(crate) use edges::{Edges, Event};
#[cfg(feature = "tokio")]
pub(crate) use filters::{Throttled, backlog, freeze_if_settled, throttle, unthrottle};
pub(crate) use filters::{freeze, trim, trim_ahead, untrim};
pub(crate) use limit::descriptor_limit;
pub(crate) use look::{first_look, look};
#[cfg(feature = "tokio")]
pub(crate) use look::{first_look_at_tcp, is_tcp};
#[cfg(feature = "tokio")]
pub(crate) use nested::Nested;
pub(crate) use nonblocking::is_nonblocking;
pub(crate) use option::{LINGER_FORM, linger, set_linger};
#[cfg(feature = "tokio")]
pub(crate) use socket::RawSocket;
pub(crate) use socket::{AsSocket, BorrowedSocket, HasSocket, OwnedSocket, forget};
pub(crate) use stream::{abort, close, send_fin, shut_down};
pub(crate) use timer::Timer;
pub(crate) use waker::Waker;

/// How often connections are looked at: the resolution at which a FIN's acknowledgement shows.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// No event shows a FIN's acknowledgement.
#[cfg(feature = "tokio")]
pub(crate) const LOOKS_EVERY: Option<Duration> = Some(TICK);
