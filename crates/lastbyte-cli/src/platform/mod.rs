//! What a platform supplies to the commands that every platform has.
//!
//! - `wait`: until a connection takes more bytes, or has some;
//! - `unacknowledged`: how many bytes the peer has not acknowledged, where the system counts;
//! - `end_for_want_of_a_reader`: as other programs end whose standard output nobody reads.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod imp;

#[cfg(windows)]
#[path = "windows.rs"]
mod imp;

pub(crate) use imp::*;

/// What a connection is ready for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ready {
    /// A write would take some bytes, or fail.
    pub(crate) room: bool,
    /// A read would give some, or the end.
    pub(crate) input: bool,
}
