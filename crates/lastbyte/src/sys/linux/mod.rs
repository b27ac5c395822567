//! Linux.

mod edges;
mod info;
mod option;
mod stream;
mod timer;
mod waker;

pub(crate) use edges::{Edges, Event};
pub(crate) use option::{linger, set_linger};
pub(crate) use stream::{
    Look, NoLook, abort, close, first_look, freeze, is_nonblocking, look, send_fin,
};
pub(crate) use timer::Timer;
pub(crate) use waker::Waker;
