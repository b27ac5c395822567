//! The options of a socket.

use std::io;
use std::os::fd::BorrowedFd;

pub(super) use super::sockopt::{Plain, get, set};
use super::sockopt::{get_linger, put_linger};
use crate::linger::{LingerForm, RawLinger};

/// How this system counts.
pub(crate) const LINGER_FORM: LingerForm = LingerForm::LINUX;

/// A filter program, whose pointer only the caller can vouch for.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Program(pub(super) libc::sock_fprog);

// SAFETY: an integer and a raw pointer, for which any bits are valid.
unsafe impl Plain for Program {}

pub(crate) fn linger(socket: BorrowedFd<'_>) -> io::Result<RawLinger> {
    get_linger(socket, libc::SO_LINGER)
}

pub(crate) fn set_linger(socket: BorrowedFd<'_>, raw: RawLinger) -> io::Result<()> {
    put_linger(socket, libc::SO_LINGER, raw)
}
