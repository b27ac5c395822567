//! Sockets of `NETLINK_SOCK_DIAG`.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use super::check;

/// A socket of `NETLINK_SOCK_DIAG`.
pub(super) fn netlink_socket() -> io::Result<OwnedFd> {
    // SAFETY: plain system call; the result is checked.
    let fd = check(unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_SOCK_DIAG,
        )
    })?;
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
