//! getsockopt and setsockopt with their types checked in one place.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, socklen_t};

use crate::linger::RawLinger;

/// A type that any bytes the kernel writes make a valid value of.
///
/// # Safety
/// Every bit pattern, zeroes included, must be valid.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: integers, and structs of integers, have no invalid bit pattern.
unsafe impl Plain for c_int {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for libc::linger {}

/// The option's value and how many of its bytes the kernel filled; the rest is
/// zero.
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

pub(super) fn set<T: Plain>(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `value` is a live T of exactly the length passed.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as socklen_t,
        )
    };
    if rc == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The linger option of this name, of the level of sockets.
pub(super) fn get_linger(socket: BorrowedFd<'_>, name: c_int) -> io::Result<RawLinger> {
    let (raw, _) = get::<libc::linger>(socket, libc::SOL_SOCKET, name)?;
    Ok(RawLinger {
        l_onoff: raw.l_onoff,
        l_linger: raw.l_linger,
    })
}

pub(super) fn put_linger(socket: BorrowedFd<'_>, name: c_int, raw: RawLinger) -> io::Result<()> {
    let raw = libc::linger {
        l_onoff: raw.l_onoff,
        l_linger: raw.l_linger,
    };
    set(socket, libc::SOL_SOCKET, name, &raw)
}
