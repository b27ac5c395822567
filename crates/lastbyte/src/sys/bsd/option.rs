//! getsockopt, setsockopt and ioctl with their types checked in one place.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, socklen_t};

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

/// A type that any bytes the kernel writes make a valid value of.
///
/// # Safety
/// Every bit pattern, zeroes included, must be valid.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: integers, and structs of integers, have no invalid bit pattern.
unsafe impl Plain for c_int {}
// SAFETY: as above.
unsafe impl Plain for libc::linger {}
// SAFETY: as above.
#[cfg(not(target_os = "macos"))]
unsafe impl Plain for libc::tcp_info {}
// SAFETY: as above.
#[cfg(target_os = "macos")]
unsafe impl Plain for libc::tcp_connection_info {}

/// The option's value and how many of its bytes the kernel filled; the rest is zero.
pub(super) fn get<T: Plain>(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
) -> io::Result<(T, usize)> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as socklen_t;
    // SAFETY: `value` has room for `len` bytes, and both outlive the call.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if rc == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed first, then filled by the kernel; `Plain` allows any bytes.
    Ok((unsafe { value.assume_init() }, len as usize))
}

pub(crate) fn linger(socket: BorrowedFd<'_>) -> io::Result<RawLinger> {
    let (raw, _) = get::<libc::linger>(socket, libc::SOL_SOCKET, LINGER)?;
    Ok(RawLinger {
        l_onoff: raw.l_onoff,
        l_linger: raw.l_linger,
    })
}

/// # Errors
/// Those of setsockopt(2): macOS refuses after a shutdown (`EINVAL`).
pub(crate) fn set_linger(socket: BorrowedFd<'_>, raw: RawLinger) -> io::Result<()> {
    let raw = libc::linger {
        l_onoff: raw.l_onoff,
        l_linger: raw.l_linger,
    };
    // SAFETY: `raw` is a live linger of exactly the length passed.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            LINGER,
            (&raw const raw).cast(),
            size_of::<libc::linger>() as socklen_t,
        )
    };
    if rc == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
