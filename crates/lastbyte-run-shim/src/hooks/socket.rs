//! socket, accept, accept4, connect, sendto: where sockets and connections come from.

use core::ffi::{c_int, c_void};

use lastbyte_run_protocol::flag;

use crate::fd_table::Made;
use crate::real_libc::forward;
use crate::{descriptors, epoch, fd_table, notes, run, sys};

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
    let what = match protocol {
        0 | libc::IPPROTO_TCP if is_stream && is_internet => Made::Tcp,
        libc::IPPROTO_MPTCP if is_stream && is_internet => Made::Mptcp,
        // SMC and the like.
        _ if is_stream && is_internet => return fd_table::forget(fd),
        _ => Made::Other,
    };
    fd_table::made(fd, what, kind & libc::SOCK_CLOEXEC != 0, before);
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
    let what = match fd_table::entry(listener) {
        Some(entry) if entry.is_tcp() => Made::Tcp,
        Some(entry) if entry.is_other() => Made::Other,
        // A client without MPTCP makes a plain connection of a listener with it.
        _ => match sys::protocol(fd) {
            Ok(libc::IPPROTO_TCP) => Made::Tcp,
            Ok(libc::IPPROTO_MPTCP) => Made::Mptcp,
            _ => Made::Other,
        },
    };
    fd_table::made(fd, what, cloexec, before);
    match what {
        Made::Tcp => notes::opened(fd, 0),
        Made::Mptcp => notes::opened(fd, flag::MPTCP),
        _ => {}
    }
}

/// connect(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn connect(
    fd: c_int,
    address: *const c_void,
    length: libc::socklen_t,
) -> c_int {
    let result = forward!(
        CONNECT(fd, address, length) as fn(c_int, *const c_void, libc::socklen_t) -> c_int,
        else -1
    );
    connected(fd, result >= 0);
    result
}

/// sendto(2): with MSG_FASTOPEN it connects.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendto(
    fd: c_int,
    bytes: *const c_void,
    count: usize,
    flags: c_int,
    address: *const c_void,
    length: libc::socklen_t,
) -> isize {
    let result = forward!(
        SENDTO(fd, bytes, count, flags, address, length)
            as fn(c_int, *const c_void, usize, c_int, *const c_void, libc::socklen_t) -> isize,
        else -1
    );
    if flags & libc::MSG_FASTOPEN != 0 {
        connected(fd, result >= 0);
    }
    result
}

/// Takes note of a connection that was asked for. `errno` says whether it is under way
/// where the call has not succeeded.
pub(super) fn connected(fd: c_int, has_succeeded: bool) {
    let is_under_way = || matches!(sys::errno(), libc::EINPROGRESS | libc::EINTR);
    if !(has_succeeded || is_under_way()) || !run::is_own_memory() {
        return;
    }
    match descriptors::kind(fd) {
        Made::Tcp => notes::opened(fd, flag::CONNECTED),
        Made::Mptcp => notes::opened(fd, flag::CONNECTED | flag::MPTCP),
        _ => {}
    }
}
