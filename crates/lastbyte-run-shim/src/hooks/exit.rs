//! exit, _exit: connections that the program leaves to the kernel by ending.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering};

use lastbyte_run_protocol::Kind;

use crate::fd_table::Made;
use crate::real_libc::forward;
use crate::run::{self, Run};
use crate::{closing, descriptors, handover, holders, sys};

static DONE: AtomicBool = AtomicBool::new(false);

/// Sockets of which a second descriptor is skipped, at most.
const REMEMBERED: usize = 16;

/// Gives the supervisor a reference to every connection that has something under way.
/// It acts once this process is gone, because stdio writes its buffers out after us,
/// and finds out then whether another process goes on with the connection.
pub(crate) fn hand_over_everything() {
    if let Some(run) = run::current()
        && !DONE.swap(true, Ordering::Relaxed)
    {
        hand_over(run, Kind::EndAfterExit, |_| true);
    }
}

/// Before an exec, which may fail: the same with what it would close. What the parent
/// holds too is left out: a child that only executes something is no end of it.
pub(super) fn hand_over_what_exec_closes() {
    if let Some(run) = run::current() {
        hand_over(run, Kind::EndUnlessHeld, |fd| {
            sys::fcntl(fd, libc::F_GETFD, 0).is_ok_and(|flags| flags & libc::FD_CLOEXEC != 0)
                && !holders::parent_goes_on(run, fd)
        });
    }
}

fn hand_over(run: Run, kind: Kind, is_meant: impl Fn(c_int) -> bool) {
    let mut seen = [0; REMEMBERED];
    let mut next = 0;
    descriptors::each(0, c_int::MAX, |fd| {
        let what = descriptors::kind(fd);
        if what == Made::Other || !is_meant(fd) {
            return;
        }
        // An MPTCP socket has its listener's cookie (Linux 6.18).
        let Ok(inode) = sys::stat(fd).map(|stat| stat.st_ino) else {
            return;
        };
        if seen.contains(&inode) {
            return;
        }
        let is_done = match what {
            Made::Mptcp => {
                closing::note_mptcp_at_exit(run, fd);
                true
            }
            // There may be no need, or it cannot be.
            _ => closing::case_at_exit(run, fd)
                .is_some_and(|case| handover::give(case, fd, kind).is_some()),
        };
        if is_done && let Some(place) = seen.get_mut(next % REMEMBERED) {
            *place = inode;
            next += 1;
        }
    });
}

/// After a fork, in the child, whose end is another.
pub(crate) fn start_as_child() {
    DONE.store(false, Ordering::Relaxed);
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
        let _ = unsafe {
            sys::call_for_program(libc::SYS_exit_group, [status as usize, 0, 0, 0, 0, 0])
        };
    }
}
