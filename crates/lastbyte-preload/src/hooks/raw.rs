//! syscall(2) and prctl(2): what goes past the functions above.

use core::ffi::{c_int, c_long, c_ulong};

use lastbyte_handoff::flag;

use super::{close, dup, message};
use crate::next::forward;
use crate::{epoch, run, sys, table};

/// syscall(2). The call goes on unchanged, except that the run's own
/// descriptors survive close_range; we only take note.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn syscall(
    number: c_long,
    a: c_ulong,
    b: c_ulong,
    c: c_ulong,
    d: c_ulong,
    e: c_ulong,
    f: c_ulong,
) -> c_long {
    let call = || {
        forward!(
            SYSCALL(number, a, b, c, d, e, f)
                as fn(c_long, c_ulong, c_ulong, c_ulong, c_ulong, c_ulong, c_ulong) -> c_long,
            else -1
        )
    };
    let fd = a as c_int;
    match number {
        libc::SYS_close if run::owns(fd) => {
            sys::set_errno(libc::EBADF);
            -1
        }
        libc::SYS_close => {
            close::part(fd);
            call()
        }
        libc::SYS_close_range => match close::range(a as u32, b as u32, c as u32) {
            Ok(()) => 0,
            Err(error) => {
                sys::set_errno(error);
                -1
            }
        },
        libc::SYS_dup => {
            table::shared(fd);
            call()
        }
        libc::SYS_dup3 => c_long::from(dup::replace(fd, b as c_int, || call() as c_int)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_dup2 => c_long::from(dup::replace(fd, b as c_int, || call() as c_int)),
        libc::SYS_fcntl => c_long::from(dup::control(fd, b as c_int, c, || call() as c_int)),
        libc::SYS_sendmsg => {
            // SAFETY: the program's own message.
            unsafe { message::mark(b as *const libc::msghdr) };
            call()
        }
        libc::SYS_clone | libc::SYS_clone3 => {
            epoch::fork_begins();
            let child = call();
            if child != 0 {
                epoch::fork_is_done();
            }
            child
        }
        libc::SYS_unshare => {
            run::blind();
            call()
        }
        libc::SYS_pidfd_getfd => {
            let copy = call();
            if let Ok(cookie) = sys::cookie(copy as c_int)
                && let Some(shared) = run::shared()
            {
                shared.leave_alone(cookie);
            }
            copy
        }
        // A ring can hold sockets and close them where nobody sees it.
        libc::SYS_io_uring_setup => {
            run::blind();
            run::withdraw(flag::IO_URING);
            call()
        }
        // What we would call next may be forbidden then.
        libc::SYS_seccomp => {
            run::withdraw(flag::SECCOMP);
            call()
        }
        _ => call(),
    }
}

/// prctl(2): PR_SET_SECCOMP may forbid what we would call next.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn prctl(
    option: c_int,
    a: c_ulong,
    b: c_ulong,
    c: c_ulong,
    d: c_ulong,
) -> c_int {
    if option == libc::PR_SET_SECCOMP {
        run::withdraw(flag::SECCOMP);
    }
    forward!(
        PRCTL(option, a, b, c, d) as fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int,
        else -1
    )
}
