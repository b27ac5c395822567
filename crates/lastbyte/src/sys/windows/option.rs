//! getsockopt and setsockopt with their types checked in one place.

use std::io;
use std::mem::{MaybeUninit, size_of};

use windows_sys::Win32::Networking::WinSock::{
    LINGER, SO_LINGER, SOL_SOCKET, WSAPROTOCOL_INFOW, getsockopt, setsockopt,
};

use super::socket::{BorrowedSocket, number};
use crate::linger::{LingerForm, RawLinger};

/// How this system counts.
pub(crate) const LINGER_FORM: LingerForm = LingerForm::WINDOWS;

/// A type that any bytes the system writes make a valid value of.
///
/// # Safety
/// Every bit pattern, zeroes included, must be valid.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: an integer has no invalid bit pattern.
unsafe impl Plain for i32 {}
// SAFETY: a struct of two integers.
unsafe impl Plain for LINGER {}
// SAFETY: a struct of integers and arrays of them.
unsafe impl Plain for WSAPROTOCOL_INFOW {}

pub(super) fn get<T: Plain>(socket: BorrowedSocket<'_>, name: i32) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as i32;
    // SAFETY: `value` has room for `len` bytes, and both outlive the call.
    let rc = unsafe {
        getsockopt(
            number(socket),
            SOL_SOCKET,
            name,
            value.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed first, then filled by Winsock; `Plain` allows any bytes.
    Ok(unsafe { value.assume_init() })
}

pub(crate) fn linger(socket: BorrowedSocket<'_>) -> io::Result<RawLinger> {
    let raw = get::<LINGER>(socket, SO_LINGER)?;
    Ok(RawLinger {
        l_onoff: raw.l_onoff.into(),
        l_linger: raw.l_linger.into(),
    })
}

/// # Errors
/// Those of setsockopt; `InvalidInput` where a `u_short` cannot hold the value.
pub(crate) fn set_linger(socket: BorrowedSocket<'_>, raw: RawLinger) -> io::Result<()> {
    let raw = LINGER {
        l_onoff: u16::from(raw.l_onoff != 0),
        l_linger: u16::try_from(raw.l_linger).map_err(|_| io::ErrorKind::InvalidInput)?,
    };
    // SAFETY: `raw` is a live LINGER of exactly the length passed.
    let rc = unsafe {
        setsockopt(
            number(socket),
            SOL_SOCKET,
            SO_LINGER,
            std::ptr::from_ref(&raw).cast(),
            size_of::<LINGER>() as i32,
        )
    };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
