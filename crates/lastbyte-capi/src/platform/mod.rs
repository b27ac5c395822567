//! What a platform supplies: its socket, its error numbers, and how a function leaves an
//! error behind.

#[cfg(not(windows))]
#[path = "descriptor.rs"]
mod imp;
#[cfg(windows)]
#[path = "winsock.rs"]
mod imp;

#[cfg(not(windows))]
pub use imp::lb_closing_fd;
pub use imp::lb_socket;
pub(crate) use imp::*;
#[cfg(windows)]
pub use imp::{lb_closesocket, lb_closesocket_with, lb_closing_event, lb_closing_socket};
