//! epoll_ctl: which sets a socket is in.

use core::ffi::{c_int, c_void};

use crate::fd_table;
use crate::real_libc::forward;

/// epoll_ctl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_ctl(
    set: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut c_void,
) -> c_int {
    control(set, operation, fd, || {
        forward!(
            EPOLL_CTL(set, operation, fd, event) as fn(c_int, c_int, c_int, *mut c_void) -> c_int,
            else -1
        )
    })
}

/// Takes note of what `call` adds or removes.
pub(super) fn control(
    set: c_int,
    operation: c_int,
    fd: c_int,
    call: impl FnOnce() -> c_int,
) -> c_int {
    if operation == libc::EPOLL_CTL_ADD {
        fd_table::joins_set(fd, set);
    }
    let result = call();
    if operation == libc::EPOLL_CTL_DEL && result == 0 {
        fd_table::left_set(fd, set);
    }
    result
}
