//! shutdown(2), and the socket options that meet what we do in it.

use core::ffi::{c_int, c_void};

use crate::real_libc::forward;
use crate::{descriptors, fd_table, notes, run, sys, trim};

/// shutdown(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn shutdown(fd: c_int, how: c_int) -> c_int {
    shutting(
        fd,
        how,
        || forward!(SHUTDOWN(fd, how) as fn(c_int, c_int) -> c_int, else -1),
    )
}

/// Attaches the filter where `how` leaves both directions shut, then shuts.
pub(super) fn shutting(fd: c_int, how: c_int, call: impl FnOnce() -> c_int) -> c_int {
    if matches!(how, libc::SHUT_RD | libc::SHUT_RDWR)
        && run::current().is_some()
        && descriptors::is_tcp(fd)
    {
        let shuts_both = how == libc::SHUT_RDWR || trim::write_side_is_shut(fd);
        if shuts_both {
            trim::attach(fd);
        }
        let result = call();
        if result == 0 {
            fd_table::reads_no_more(fd);
            if shuts_both {
                notes::half_closed(fd);
            }
        }
        return result;
    }
    if how == libc::SHUT_WR && trim::reading_is_shut(fd) {
        trim::attach(fd);
    }
    let result = call();
    if how == libc::SHUT_WR && result == 0 && descriptors::is_tcp(fd) {
        notes::half_closed(fd);
    }
    result
}

/// setsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: libc::socklen_t,
) -> c_int {
    setting(fd, level, name, || {
        forward!(
            SETSOCKOPT(fd, level, name, value, length)
                as fn(c_int, c_int, c_int, *const c_void, libc::socklen_t) -> c_int,
            else -1
        )
    })
}

pub(super) fn setting(fd: c_int, level: c_int, name: c_int, call: impl FnOnce() -> c_int) -> c_int {
    if level == libc::SOL_SOCKET && name == libc::SO_DETACH_FILTER && trim::is_attached(fd) {
        // The program has none to detach.
        sys::set_errno(libc::ENOENT);
        return -1;
    }
    if level == libc::IPPROTO_TCP
        && name == libc::TCP_REPAIR
        && let Some(shared) = run::shared()
    {
        shared.set_repaired();
    }
    call()
}

/// getsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut libc::socklen_t,
) -> c_int {
    let call = || {
        forward!(
            GETSOCKOPT(fd, level, name, value, length)
                as fn(c_int, c_int, c_int, *mut c_void, *mut libc::socklen_t) -> c_int,
            else -1
        )
    };
    // SAFETY: the program's own length.
    unsafe { getting(fd, level, name, length, call) }
}

/// # Safety
/// `length` is what the program passes to getsockopt(2).
pub(super) unsafe fn getting(
    fd: c_int,
    level: c_int,
    name: c_int,
    length: *mut libc::socklen_t,
    call: impl FnOnce() -> c_int,
) -> c_int {
    if level == libc::SOL_SOCKET
        && name == libc::SO_GET_FILTER
        && !length.is_null()
        && trim::is_attached(fd)
    {
        // So many instructions has the program's filter.
        // SAFETY: not null, and the program's own.
        unsafe { *length = 0 };
        return 0;
    }
    call()
}
