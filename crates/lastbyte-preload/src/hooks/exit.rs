//! exit, _exit: connections that the program leaves to the kernel by ending.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering};

use lastbyte_handoff::Kind;

use crate::next::forward;
use crate::verdict::{self, Case, Verdict};
use crate::{epoch, handover, run, sys, table};

static DONE: AtomicBool = AtomicBool::new(false);

/// Gives the undertaker a reference to every connection that is ours alone and
/// has something under way. It acts once this process is gone, because stdio
/// writes its buffers out after us.
pub(crate) fn hand_over_everything() {
    if run::current().is_none() || DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    for fd in 0..=table::highest() {
        if let Some(entry) = table::entry(fd)
            && entry.is_tcp()
            && sys::cookie(fd).is_ok_and(|cookie| entry.is_ours_alone(cookie, epoch::now()))
            && let Verdict::HandOver(case) = verdict::on(fd)
        {
            let _ = handover::give(
                Case {
                    waits: false,
                    ..case
                },
                fd,
                Kind::EndAfterExit,
            );
        }
    }
}

/// _exit(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _exit(status: c_int) -> ! {
    hand_over_everything();
    leave(status)
}

/// _Exit(3): the same by C's name.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _Exit(status: c_int) -> ! {
    hand_over_everything();
    leave(status)
}

fn leave(status: c_int) -> ! {
    forward!(EXIT(status) as fn(c_int) -> (), else ());
    loop {
        // SAFETY: does not return.
        let _ = unsafe { sys::call(libc::SYS_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    }
}
