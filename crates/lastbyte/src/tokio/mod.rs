//! Endings on tokio (feature `tokio`).

#[cfg(feature = "axum")]
mod axum;
mod close;
mod drive;
mod end;
mod handle;
mod listener;
mod lobby;
mod roll;
mod stream;

pub use close::{Closable, Close, close};
pub use handle::Handle;
pub use listener::Listener;
pub use stream::Stream;
