//! close, close_range, closefrom.

use core::ffi::{c_int, c_uint};

use lastbyte_handoff::Kind;

use crate::fd_table::Made;
use crate::real_libc::{self, forward};
use crate::verdict::{self, Verdict};
use crate::{descriptors, epoch, fd_table, handover, io_uring, run, sys};

/// close(2), as the contract has it.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn close(fd: c_int) -> c_int {
    let_go(fd, || match real_libc::CLOSE.known() {
        Some(_) => forward!(CLOSE(fd) as fn(c_int) -> c_int, else -1),
        None => match sys::close(fd) {
            Ok(()) => 0,
            Err(error) => {
                sys::set_errno(error);
                -1
            }
        },
    })
}

/// Closes `fd` as the contract has it. `plain` is what the program would have got
/// without us.
pub(super) fn let_go(fd: c_int, plain: impl FnOnce() -> c_int) -> c_int {
    let (verdict, turn) = verdict::on(fd);
    let handed = match verdict {
        Verdict::Hidden => {
            sys::set_errno(libc::EBADF);
            return -1;
        }
        Verdict::Plain => None,
        Verdict::FinThenPlain => {
            let _ = sys::shutdown_write(fd);
            None
        }
        Verdict::HandOver(case) => handover::give(case, fd, Kind::End),
    };
    let Some(handed) = handed else {
        part(fd);
        let result = plain();
        turn.is_over();
        return result;
    };
    forget(fd);
    // Not the last reference any more: no FIN, no wait, no error.
    let _ = sys::close(fd);
    turn.is_over();
    match handed.outcome() {
        0 => 0,
        error => {
            sys::set_errno(error);
            -1
        }
    }
}

/// glibc's other name for close(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __close(fd: c_int) -> c_int {
    // SAFETY: as the caller's call.
    unsafe { close(fd) }
}

/// Before a descriptor goes that others may hold too: once its number is gone
/// nobody can take the socket out of the epoll sets that number put it in. A
/// later close must not keep such a socket alive any longer than the kernel would.
pub(super) fn part(fd: c_int) {
    if let Some(entry) = fd_table::entry(fd)
        && !entry.is_other()
        && entry.is_in_a_set()
        && let Some(shared) = run::shared()
        && let Ok(cookie) = sys::cookie(fd)
        && !entry.is_ours_alone(cookie, epoch::now())
        && sys::protocol(fd) == Ok(libc::IPPROTO_TCP)
    {
        shared.leave_alone(cookie);
    }
    forget(fd);
}

/// Empties the entry, unless the memory is borrowed from a parent that still
/// has the descriptor.
pub(super) fn forget(fd: c_int) {
    if fd_table::knows(fd) && run::is_own_memory() {
        if fd_table::entry(fd).is_some_and(fd_table::Entry::is_ring) {
            io_uring::close(fd);
        }
        fd_table::forget(fd);
    }
}

/// close_range(2). Sockets in the range are closed one by one; the run's own
/// descriptors stay.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    match range(first, last, flags.cast_unsigned()) {
        Ok(()) => 0,
        Err(error) => {
            sys::set_errno(error);
            -1
        }
    }
}

/// closefrom(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn closefrom(lowest: c_int) {
    let first = lowest.max(0).cast_unsigned();
    if range(first, c_uint::MAX, 0) == Err(libc::ENOSYS) {
        // A kernel before 5.9: by number, as far as the table knows any.
        for fd in first.cast_signed()..=fd_table::highest().max(1023) {
            // SAFETY: the program asked for it.
            unsafe { close(fd) };
        }
    }
}

/// close_range(2) without errno.
pub(super) fn range(first: c_uint, last: c_uint, flags: c_uint) -> sys::Result<()> {
    if first <= last && flags & libc::CLOSE_RANGE_CLOEXEC == 0 && run::is_own_memory() {
        let bound = |number: c_uint| number.min(c_int::MAX.cast_unsigned()).cast_signed();
        descriptors::each(bound(first), bound(last), |fd| {
            if flags == 0 && descriptors::kind(fd) != Made::Other {
                // SAFETY: the program asked for it; the result has nowhere to go.
                unsafe { close(fd) };
            } else if !run::owns(fd) {
                part(fd);
            }
        });
    }
    let mut from = first;
    for own in run::own_descriptors() {
        let own = own.cast_unsigned();
        // A descriptor we do not have is -1, which is the last number there is.
        if own < c_uint::MAX && from <= own && own <= last {
            if from < own {
                sys::close_range(from, own - 1, flags)?;
            }
            from = own + 1;
        }
    }
    if from <= last || from == first {
        sys::close_range(from, last, flags)?;
    }
    Ok(())
}
