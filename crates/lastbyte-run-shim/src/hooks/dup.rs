//! dup, dup2, dup3, fcntl, ioctl: a second descriptor for a socket, and what
//! becomes of it on exec.

use core::ffi::{c_int, c_ulong};

use super::close::begin;
use crate::real_libc::forward;
use crate::{epoch, fd_table, run, sys};

/// dup(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn dup(fd: c_int) -> c_int {
    duplicate(fd, || forward!(DUP(fd) as fn(c_int) -> c_int, else -1))
}

/// Makes another descriptor for what `fd` means.
pub(super) fn duplicate(fd: c_int, call: impl FnOnce() -> c_int) -> c_int {
    if run::owns(fd) {
        return hidden();
    }
    fd_table::shared(fd);
    let copy = call();
    note_copy(fd, copy);
    copy
}

/// dup2(2). What `new` meant is closed, as close would have.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn dup2(old: c_int, new: c_int) -> c_int {
    replace(
        old,
        new,
        || forward!(DUP2(old, new) as fn(c_int, c_int) -> c_int, else -1),
    )
}

/// glibc's other name for dup2(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __dup2(old: c_int, new: c_int) -> c_int {
    // SAFETY: as the caller's call.
    unsafe { dup2(old, new) }
}

/// dup3(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    replace(
        old,
        new,
        || forward!(DUP3(old, new, flags) as fn(c_int, c_int, c_int) -> c_int, else -1),
    )
}

fn hidden() -> c_int {
    sys::set_errno(libc::EBADF);
    -1
}

pub(super) fn replace(old: c_int, new: c_int, duplicate: impl FnOnce() -> c_int) -> c_int {
    if run::owns(old) {
        return hidden();
    }
    if old == new {
        return duplicate();
    }
    // An invalid `old` leaves `new` as it was.
    if sys::fcntl(old, libc::F_GETFD, 0) == Err(libc::EBADF) {
        return duplicate();
    }
    if run::owns(new) {
        run::make_way(new);
    }
    fd_table::shared(old);
    let begun = begin(new);
    let result = duplicate();
    if result == new {
        note_copy(old, new);
    }
    if let Some(begun) = begun {
        // dup2 waits where close would, but has no way to tell what came of it.
        let errno = sys::errno();
        begun.outcome();
        sys::set_errno(errno);
    }
    result
}

fn note_copy(fd: c_int, copy: c_int) {
    if copy < 0 || !run::is_own_memory() {
        return;
    }
    if fd_table::entry(fd).is_some_and(fd_table::Entry::is_other) {
        fd_table::made_other(copy);
    } else {
        fd_table::forget(copy);
    }
}

/// fcntl(2). The argument is passed on as the word it came as.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fcntl(fd: c_int, command: c_int, argument: c_ulong) -> c_int {
    control(
        fd,
        command,
        argument,
        || forward!(FCNTL(fd, command, argument) as fn(c_int, c_int, c_ulong) -> c_int, else -1),
    )
}

/// fcntl(2) for programs compiled with 64-bit file offsets.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fcntl64(fd: c_int, command: c_int, argument: c_ulong) -> c_int {
    control(
        fd,
        command,
        argument,
        || forward!(FCNTL64(fd, command, argument) as fn(c_int, c_int, c_ulong) -> c_int, else -1),
    )
}

pub(super) fn control(
    fd: c_int,
    command: c_int,
    argument: c_ulong,
    call: impl FnOnce() -> c_int,
) -> c_int {
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => duplicate(fd, call),
        libc::F_SETFD => {
            if run::owns(fd) {
                return hidden();
            }
            if argument as c_int & libc::FD_CLOEXEC == 0 {
                fd_table::survives_exec(fd);
                return call();
            }
            let before = epoch::now();
            let result = call();
            if result == 0 && run::is_own_memory() {
                fd_table::closes_on_exec(fd, before);
            }
            result
        }
        _ => call(),
    }
}

/// ioctl(2): FIOCLEX and FIONCLEX are fcntl's F_SETFD by another name.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn ioctl(fd: c_int, request: c_ulong, argument: c_ulong) -> c_int {
    io_control(
        fd,
        request,
        || forward!(IOCTL(fd, request, argument) as fn(c_int, c_ulong, c_ulong) -> c_int, else -1),
    )
}

pub(super) fn io_control(fd: c_int, request: c_ulong, call: impl FnOnce() -> c_int) -> c_int {
    match request {
        libc::FIONCLEX | libc::FIOCLEX if run::owns(fd) => hidden(),
        libc::FIONCLEX => {
            fd_table::survives_exec(fd);
            call()
        }
        libc::FIOCLEX => {
            let before = epoch::now();
            let result = call();
            if result == 0 && run::is_own_memory() {
                fd_table::closes_on_exec(fd, before);
            }
            result
        }
        _ => call(),
    }
}
