//! What each platform supplies. All `unsafe` of the library is below this module.
//!
//! A platform provides:
//!
//! - `OwnedSocket`, `BorrowedSocket`, `AsSocket`, `RawSocket`: what owns, lends and
//!   numbers a socket there, in public bounds too; `HasSocket`, `forget`; and what the
//!   public types lend (`AsFd`, or `AsSocket` and `AsHandle`);
//! - `code`: the error numbers and their names;
//! - `linger`, `set_linger`: the raw option of any socket;
//! - `first_look`: is this a connection that can be ended, and what there is to
//!   see of it; a [`NoLook`] if not;
//! - `look`: one [`Observation`](crate::ending::Observation), discarding input
//!   on the way as the ending allows;
//! - `send_fin`, `freeze`, `trim`, `abort`, `close`: what an ending can ask for;
//! - `trim_ahead`, `untrim`: the trim of a close that begins on another thread;
//! - `shut_down`: shutdown(2), of either side;
//! - `cookie`, `local_address`, `peer_address`: which connection it is;
//! - `is_nonblocking`: whether the program asked never to be blocked;
//! - `Edges`: waits for the edge at which a FIN's acknowledgement shows; `Ring`
//!   does the same another way, both behind the trait `Readiness`; `Nested`, in tokio's
//!   reactor; `LOOKS_EVERY`, where nothing shows it and a look must;
//! - `LINGER_FORM`: how the system's `struct linger` counts;
//! - `Destroyed`: the kernel's notice of the end of each connection of one network
//!   namespace, and `identify`, by what to know it;
//! - `Timer`, `Waker`: descriptors that become readable at a time, or from
//!   another thread.
//!
//! What several platforms have in common is in `unix/`: descriptors and the errors of Unix; and
//! in `absent/`: what stands in for what a system does not have.

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod imp;

#[cfg(windows)]
#[path = "windows/mod.rs"]
mod imp;

#[cfg(any(
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "macos"
))]
#[path = "bsd/mod.rs"]
mod imp;

#[cfg(not(any(
    target_os = "linux",
    windows,
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "macos"
)))]
#[path = "unsupported/mod.rs"]
mod imp;

mod leaked;
mod shared;
#[cfg(feature = "tokio")]
mod unowned;

pub(crate) use imp::*;
pub(crate) use leaked::Leaked;
pub(crate) use shared::*;
#[cfg(feature = "tokio")]
pub(crate) use unowned::Unowned;
