//! close, close_range, closefrom.

use core::ffi::{c_int, c_uint};

use lastbyte_run_protocol::Kind;

use crate::closing::Way;
use crate::fd_table::Made;
use crate::handover::Handed;
use crate::holders::Turn;
use crate::real_libc::{self, forward};
use crate::{closing, descriptors, epoch, fd_table, handover, io_uring, run, sys};

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

/// A close that has begun; the descriptor is still open.
pub(super) struct Begun {
    handed: Option<Handed>,
    turn: Turn,
}

/// What must come before the kernel's close: the FIN, or the hand-over. `None`: the
/// descriptor is not the program's to close.
pub(super) fn begin(fd: c_int) -> Option<Begun> {
    let (way, turn) = closing::way_of(fd);
    let handed = match way {
        Way::Hidden => return None,
        Way::Plain => None,
        Way::FinThenPlain { option_is_set } => {
            if option_is_set {
                let _ = sys::set_linger(fd, [0, 0]);
            }
            let _ = sys::shutdown_write(fd);
            None
        }
        Way::HandOver(case) => handover::give(case, fd, Kind::End),
    };
    match handed {
        Some(_) => forget(fd),
        None => part(fd),
    }
    Some(Begun { handed, turn })
}

impl Begun {
    /// Whether the supervisor has the connection, so that the kernel's close of the
    /// descriptor ends nothing, waits for nothing and cannot fail.
    fn is_handed(&self) -> bool {
        self.handed.is_some()
    }

    /// The descriptor is closed: the errno that the close fails with, zero if it
    /// succeeds.
    pub(super) fn outcome(self) -> c_int {
        self.turn.is_over();
        self.handed.map_or(0, Handed::outcome)
    }
}

/// Closes `fd` as the contract has it. `plain` is what the program would have got
/// without us.
pub(super) fn let_go(fd: c_int, plain: impl FnOnce() -> c_int) -> c_int {
    // Most descriptors are no sockets, and their close should cost next to nothing.
    if closing::is_no_connection(fd) {
        forget(fd);
        return plain();
    }
    let Some(begun) = begin(fd) else {
        sys::set_errno(libc::EBADF);
        return -1;
    };
    let result = if begun.is_handed() {
        let _ = sys::close(fd);
        0
    } else {
        plain()
    };
    match begun.outcome() {
        0 => result,
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
