//! Winsock's sockets and WSAGetLastError.

use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawSocket, IntoRawSocket, RawSocket};
pub(crate) use std::os::windows::io::{AsSocket, OwnedSocket};
use std::ptr;

use libc::c_int;
use windows_sys::Win32::Networking::WinSock::{
    INVALID_SOCKET, SO_TYPE, SOL_SOCKET, WSAGetLastError, WSASetLastError, getsockopt,
};

use crate::close::lb_close_with;
use crate::closing::lb_closing;
use crate::guard::call;
use crate::types::{lb_policy, lb_report};

/// The error numbers that this crate makes itself, under their portable names.
pub(crate) mod code {
    use windows_sys::Win32::Foundation::{ERROR_IO_DEVICE, ERROR_NOT_ENOUGH_MEMORY};
    use windows_sys::Win32::Networking::WinSock as winsock;

    pub(crate) const EINVAL: i32 = winsock::WSAEINVAL;
    pub(crate) const EIO: i32 = ERROR_IO_DEVICE as i32;
    pub(crate) const ENOMEM: i32 = ERROR_NOT_ENOUGH_MEMORY as i32;
    pub(crate) const ENOTRECOVERABLE: i32 = winsock::WSASYSCALLFAILURE;
    pub(crate) const ETIMEDOUT: i32 = winsock::WSAETIMEDOUT;
    pub(crate) const EWOULDBLOCK: i32 = winsock::WSAEWOULDBLOCK;
}

/// A socket: Winsock's SOCKET.
pub type lb_socket = usize;

pub(crate) fn leave_error(error: c_int) {
    // SAFETY: no memory involved.
    unsafe { WSASetLastError(error) };
}

/// The socket, if it is one that is open.
pub(crate) fn own(socket: lb_socket) -> Result<OwnedSocket, c_int> {
    let mut kind = 0;
    let mut len = size_of::<c_int>() as i32;
    // SAFETY: `kind` has room for `len` bytes.
    let rc = unsafe {
        getsockopt(
            socket,
            SOL_SOCKET,
            SO_TYPE,
            ptr::from_mut::<c_int>(&mut kind).cast(),
            &mut len,
        )
    };
    if rc != 0 {
        // SAFETY: no memory involved.
        return Err(unsafe { WSAGetLastError() });
    }
    // SAFETY: open, and the caller gives it to us; refusals give it back.
    Ok(unsafe { OwnedSocket::from_raw_socket(socket as RawSocket) })
}

/// Leaves the socket to the caller again.
pub(crate) fn give_back(socket: OwnedSocket) {
    let _ = socket.into_raw_socket();
}

/// Winsock has no call that tells.
pub(crate) fn is_nonblocking(_socket: &OwnedSocket) -> bool {
    false
}

/// As closesocket, by the manual of SO_LINGER: off returns at once and delivers; on with a
/// time waits until data and FIN are acknowledged, or fails with WSAEWOULDBLOCK, discards the
/// rest and resets; on with 0 resets.
///
/// A non-blocking socket is waited for too, because Winsock cannot be asked whether a socket is
/// one: use lb_close_begin for those.
///
/// ERRORS: as lb_close, from WSAGetLastError and under Winsock's names.
#[unsafe(no_mangle)]
pub extern "C" fn lb_closesocket(socket: lb_socket) -> c_int {
    // SAFETY: both pointers are NULL, which is allowed.
    unsafe { lb_close_with(socket, ptr::null(), ptr::null_mut()) }
}

/// As lb_closesocket, by an explicit policy and with a report: lb_close_with.
///
/// # Safety
/// Non-NULL pointers point to structures as long as their `size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closesocket_with(
    socket: lb_socket,
    policy: *const lb_policy,
    report: *mut lb_report,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { lb_close_with(socket, policy, report) }
}

/// The event object to wait for (WaitForSingleObject): set when lb_closing_finish() has
/// something to do, the deadline included. It stays the handle's. NULL and WSAEINVAL for NULL.
///
/// # Safety
/// NULL, or a handle that is not over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closing_event(closing: *const lb_closing) -> *mut c_void {
    // SAFETY: the caller's promise.
    match unsafe { closing.as_ref() } {
        Some(closing) => closing.0.as_raw_handle(),
        None => {
            call(|| Err(code::EINVAL));
            ptr::null_mut()
        }
    }
}

/// The socket to poll for readability (WSAPoll, select), as lb_closing_event is to wait for.
/// INVALID_SOCKET and WSAEINVAL for NULL.
///
/// # Safety
/// NULL, or a handle that is not over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closing_socket(closing: *const lb_closing) -> lb_socket {
    // SAFETY: the caller's promise.
    match unsafe { closing.as_ref() } {
        Some(closing) => closing.0.as_raw_socket() as lb_socket,
        None => {
            call(|| Err(code::EINVAL));
            INVALID_SOCKET
        }
    }
}
