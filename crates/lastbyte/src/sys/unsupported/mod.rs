//! Any other system: what would look at a connection, or end one, says that it is unsupported.

#[cfg(unix)]
#[path = "../unix/code.rs"]
pub(crate) mod code;
#[cfg(not(unix))]
#[path = "own_code.rs"]
pub(crate) mod code;
#[path = "../absent/destroyed.rs"]
mod destroyed;
#[path = "../absent/filters.rs"]
mod filters;
#[cfg(feature = "tokio")]
#[path = "../absent/nested.rs"]
mod nested;
mod nothing;
#[cfg(unix)]
#[path = "../unix/public.rs"]
mod public;
#[cfg(unix)]
#[path = "../unix/socket.rs"]
mod socket;
#[cfg(not(unix))]
#[path = "no_socket.rs"]
mod socket;
mod stream;

use std::io;

use crate::linger::LingerForm;

pub(crate) use destroyed::{Destroyed, Notice, Overrun, identify};
pub(crate) use filters::*;
#[cfg(feature = "tokio")]
pub(crate) use nested::Nested;
pub(crate) use nothing::{Edges, Event, Timer, Waker};
#[cfg(feature = "tokio")]
pub(crate) use socket::RawSocket;
pub(crate) use socket::{AsSocket, BorrowedSocket, HasSocket, OwnedSocket, forget};
pub(crate) use stream::*;

/// As POSIX has it.
pub(crate) const LINGER_FORM: LingerForm = LingerForm::POSIX;

/// Nothing is looked at.
#[cfg(feature = "tokio")]
pub(crate) const LOOKS_EVERY: Option<std::time::Duration> = None;

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
