//! socket, accept, accept4: where sockets come from.

use core::ffi::{c_int, c_void};

use crate::real_libc::forward;
use crate::{epoch, fd_table, run, sys};

/// socket(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    let before = epoch::now();
    let fd = forward!(
        SOCKET(domain, kind, protocol) as fn(c_int, c_int, c_int) -> c_int,
        else -1
    );
    made(domain, kind, protocol, fd, before);
    fd
}

/// Takes note of what socket(2) made.
pub(super) fn made(domain: c_int, kind: c_int, protocol: c_int, fd: c_int, before: epoch::Moment) {
    if fd < 0 || !run::is_own_memory() {
        return;
    }
    let is_stream = kind & 0xf == libc::SOCK_STREAM;
    let is_internet = domain == libc::AF_INET || domain == libc::AF_INET6;
    if is_stream && is_internet && matches!(protocol, 0 | libc::IPPROTO_TCP) {
        fd_table::made_tcp(fd, kind & libc::SOCK_CLOEXEC != 0, before);
    } else if is_stream && is_internet {
        // MPTCP, most likely, which may turn out to be plain TCP.
        fd_table::forget(fd);
    } else {
        fd_table::made_other(fd);
    }
}

/// accept(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn accept(
    listener: c_int,
    address: *mut c_void,
    length: *mut c_void,
) -> c_int {
    let before = epoch::now();
    let fd = forward!(
        ACCEPT(listener, address, length) as fn(c_int, *mut c_void, *mut c_void) -> c_int,
        else -1
    );
    accepted(listener, fd, false, before);
    fd
}

/// accept4(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn accept4(
    listener: c_int,
    address: *mut c_void,
    length: *mut c_void,
    flags: c_int,
) -> c_int {
    let before = epoch::now();
    let fd = forward!(
        ACCEPT4(listener, address, length, flags)
            as fn(c_int, *mut c_void, *mut c_void, c_int) -> c_int,
        else -1
    );
    accepted(listener, fd, flags & libc::SOCK_CLOEXEC != 0, before);
    fd
}

/// Takes note of what accept(2) made.
pub(super) fn accepted(listener: c_int, fd: c_int, cloexec: bool, before: epoch::Moment) {
    if fd < 0 || !run::is_own_memory() {
        return;
    }
    let is_tcp = match fd_table::entry(listener) {
        Some(entry) if entry.is_tcp() => true,
        Some(entry) if entry.is_other() => false,
        _ => match sys::protocol(fd) {
            Ok(libc::IPPROTO_TCP) => true,
            Ok(libc::IPPROTO_MPTCP) => return fd_table::forget(fd),
            _ => false,
        },
    };
    if is_tcp {
        fd_table::made_tcp(fd, cloexec, before);
    } else {
        fd_table::made_other(fd);
    }
}
