//! Linux.

mod address;
mod destroyed;
mod edges;
mod hint;
mod info;
mod option;
mod stream;
mod timer;
#[cfg(feature = "io-uring")]
mod uring;
mod waker;

pub(crate) use address::peer_address;
pub(crate) use destroyed::{Destroyed, Notice, Overrun};
pub(crate) use edges::{Edges, Event, Readiness};
pub(crate) use option::{linger, set_linger};
pub(crate) use stream::{
    Look, NoLook, abort, close, first_look, freeze, identify, is_nonblocking, look, send_fin,
};
#[cfg(feature = "tokio")]
pub(crate) use stream::{first_look_at_tcp, freeze_if_settled, is_tcp, throttle};
pub(crate) use timer::Timer;
#[cfg(feature = "io-uring")]
pub(crate) use uring::Ring;
pub(crate) use waker::Waker;
