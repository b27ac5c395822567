//! sendmsg, recvmsg and their multiples: sockets that travel by SCM_RIGHTS.
//!
//! A socket in a message is held by nobody's descriptor table, so nobody can
//! tell whether it is held. From its first journey on it is left alone.

use core::ffi::{c_int, c_uint};
use core::mem::size_of;

use libc::{mmsghdr, msghdr, ssize_t, timespec};

use crate::real_libc::forward;
use crate::{fd_table, run, sys};

/// sendmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendmsg(
    fd: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the program's own message, valid for its own call.
    unsafe { mark(message) };
    forward!(SENDMSG(fd, message, flags) as fn(c_int, *const msghdr, c_int) -> ssize_t, else -1)
}

/// sendmmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    // SAFETY: the program's own messages, valid for its own call.
    unsafe { mark_all(messages, count) };
    forward!(
        SENDMMSG(fd, messages, count, flags) as fn(c_int, *mut mmsghdr, c_uint, c_int) -> c_int,
        else -1
    )
}

/// recvmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    let length = forward!(
        RECVMSG(fd, message, flags) as fn(c_int, *mut msghdr, c_int) -> ssize_t,
        else -1
    );
    if length >= 0 {
        // SAFETY: the kernel has just filled it in.
        unsafe { mark(message) };
    }
    length
}

/// recvmmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> c_int {
    let received = forward!(
        RECVMMSG(fd, messages, count, flags, timeout)
            as fn(c_int, *mut mmsghdr, c_uint, c_int, *mut timespec) -> c_int,
        else -1
    );
    if let Ok(received) = c_uint::try_from(received) {
        // SAFETY: the kernel has just filled in that many.
        unsafe { mark_all(messages, received) };
    }
    received
}

/// Marks every TCP socket that rides along with any of them.
///
/// # Safety
/// `messages` points to `count` valid messages.
pub(super) unsafe fn mark_all(messages: *const mmsghdr, count: c_uint) {
    // The kernel takes no more than UIO_MAXIOV messages.
    for index in 0..count.min(1024) as usize {
        // SAFETY: the caller's promise.
        unsafe { mark(&raw const (*messages.add(index)).msg_hdr) };
    }
}

/// Marks every TCP socket that rides along.
///
/// # Safety
/// `message` is NULL or a valid message.
pub(super) unsafe fn mark(message: *const msghdr) {
    // SAFETY: the caller's promise.
    let Some(message) = (unsafe { message.as_ref() }) else {
        return;
    };
    if message.msg_control.is_null() || message.msg_controllen < size_of::<libc::cmsghdr>() {
        return;
    }
    let Some(shared) = run::shared() else { return };
    // SAFETY: control data is there, as long as the message says.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: CMSG_NXTHDR stays within the control data.
    while let Some(control) = unsafe { header.as_ref() } {
        if control.cmsg_level == libc::SOL_SOCKET && control.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: a header has its data behind it.
            let data = unsafe { libc::CMSG_DATA(header) };
            // CMSG_LEN(0) is the header with its padding.
            let length = control.cmsg_len.saturating_sub(size_of::<libc::cmsghdr>());
            for index in 0..(length / size_of::<c_int>()).min(253) {
                // SAFETY: within the data.
                let fd = unsafe { data.cast::<c_int>().add(index).read_unaligned() };
                if sys::protocol(fd) == Ok(libc::IPPROTO_TCP) {
                    fd_table::shared(fd);
                    if let Ok(cookie) = sys::cookie(fd) {
                        shared.leave_alone(cookie);
                    }
                }
            }
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}
