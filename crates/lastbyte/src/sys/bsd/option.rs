//! The options of a socket.

use std::io;
use std::os::fd::BorrowedFd;

use libc::c_int;

pub(super) use super::sockopt::get;
use super::sockopt::{Plain, get_linger, put_linger};
use crate::linger::{LingerForm, RawLinger};

/// How this system counts: seconds in an `int` (FreeBSD setsockopt(2), OpenBSD
/// setsockopt(2), NetBSD setsockopt(2)).
#[cfg(target_os = "freebsd")]
pub(crate) const LINGER_FORM: LingerForm = LingerForm::FREEBSD;
/// As on FreeBSD.
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
pub(crate) const LINGER_FORM: LingerForm = LingerForm::OPENBSD;
/// `SO_LINGER_SEC`: seconds. `SO_LINGER` counts clock ticks there (`bsd/kern/uipc_socket.c`
/// of xnu, `sosetoptlock`).
#[cfg(target_os = "macos")]
pub(crate) const LINGER_FORM: LingerForm = LingerForm::MACOS_SEC;

#[cfg(not(target_os = "macos"))]
const LINGER: c_int = libc::SO_LINGER;
#[cfg(target_os = "macos")]
const LINGER: c_int = libc::SO_LINGER_SEC;

// SAFETY: a struct of integers has no invalid bit pattern.
#[cfg(not(target_os = "macos"))]
unsafe impl Plain for libc::tcp_info {}
// SAFETY: as above.
#[cfg(target_os = "macos")]
unsafe impl Plain for libc::tcp_connection_info {}

pub(crate) fn linger(socket: BorrowedFd<'_>) -> io::Result<RawLinger> {
    get_linger(socket, LINGER)
}

/// # Errors
/// Those of setsockopt(2): macOS refuses after a shutdown (`EINVAL`).
pub(crate) fn set_linger(socket: BorrowedFd<'_>, raw: RawLinger) -> io::Result<()> {
    put_linger(socket, LINGER, raw)
}
