//! What the public types lend on this system: descriptors.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::closing::Closing;
#[cfg(feature = "tokio")]
use crate::on_tokio::Stream;

impl AsFd for Closing {
    /// Returns the descriptor to be polled for readability; it is not the connection's.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch().0.as_fd()
    }
}

impl AsRawFd for Closing {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(feature = "tokio")]
impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp().as_fd()
    }
}

#[cfg(feature = "tokio")]
impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp().as_raw_fd()
    }
}
