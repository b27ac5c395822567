//! io_uring_setup, io_uring_enter, io_uring_register, which are made by syscall(2).

use core::ffi::{c_int, c_long, c_uint};

use crate::io_uring::{self, Concerns, Parameters};
use crate::{handover, run};

/// Takes note of the ring that `call` makes.
///
/// # Safety
/// `parameters` is what the program passes to io_uring_setup(2).
pub(super) unsafe fn setting_up(
    parameters: *const Parameters,
    call: impl FnOnce() -> c_long,
) -> c_long {
    let fd = call();
    if fd >= 0 && io_uring::is_looked_at() && run::current().is_some() {
        // SAFETY: the kernel has just filled it in.
        heed(unsafe { io_uring::set_up(fd as c_int, parameters) });
    }
    fd
}

/// Looks at what io_uring_enter(2) is about to submit.
pub(super) fn entering(fd: c_int, count: c_uint, flags: c_uint) {
    if io_uring::is_looked_at() && run::borrowed().is_some() {
        heed(if io_uring::enters_by_descriptor(flags) {
            io_uring::submits(fd, count)
        } else {
            Err(Concerns)
        });
    }
}

/// Before io_uring_register(2).
pub(super) fn registering(operation: c_uint) {
    let is_harmless = io_uring::registers_no_descriptor(operation);
    if !is_harmless && io_uring::is_looked_at() && run::borrowed().is_some() {
        heed(Err(Concerns));
    }
}

/// From the first submission that can concern a connection nobody can tell who holds
/// which.
fn heed(looked: Result<(), Concerns>) {
    if looked.is_err() {
        handover::ring_is_used_for_connections();
    }
}
