//! syscall(2) and prctl(2): what goes past the functions that have hooks of their own.

use core::ffi::{c_int, c_long, c_uint, c_ulong, c_void};

use super::{close, dup, exec, exit, fork, message, ring, shutdown, socket};
use crate::io_uring::Parameters;
use crate::real_libc::forward;
use crate::{epoch, handover, run, sys};

/// What syscall(2) does, where the call returns once in each process: as the function
/// of that name would. All others go on unchanged.
pub(super) unsafe extern "C-unwind" fn dispatch(
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
    let arguments = [a, b, c, d, e, f];
    match number {
        libc::SYS_close => c_long::from(close::let_go(a as c_int, || call() as c_int)),
        libc::SYS_close_range => match close::range(a as u32, b as u32, c as u32) {
            Ok(()) => 0,
            Err(error) => {
                sys::set_errno(error);
                -1
            }
        },
        libc::SYS_exit_group => {
            exit::hand_over_everything();
            call()
        }
        libc::SYS_fcntl => {
            c_long::from(dup::control(a as c_int, b as c_int, c, || call() as c_int))
        }
        // What we would call next may be forbidden then.
        libc::SYS_seccomp => {
            handover::withdraw();
            call()
        }
        // SAFETY: the program's own parameters.
        libc::SYS_io_uring_setup => unsafe { ring::setting_up(b as *const Parameters, call) },
        libc::SYS_io_uring_enter => {
            ring::entering(a as c_int, b as c_uint, d as c_uint);
            call()
        }
        libc::SYS_io_uring_register => {
            ring::registering(b as c_uint);
            call()
        }
        _ => copies(number, arguments, &call)
            .or_else(|| connections(number, arguments, &call))
            .or_else(|| messages(number, arguments, &call))
            .or_else(|| options(number, arguments, &call))
            .or_else(|| processes(number, arguments, &call))
            .unwrap_or_else(call),
    }
}

/// The dup family, and what else makes a descriptor from a descriptor.
fn copies(number: c_long, arguments: [c_ulong; 6], call: &impl Fn() -> c_long) -> Option<c_long> {
    let [a, b, ..] = arguments;
    let (old, new) = (a as c_int, b as c_int);
    Some(match number {
        libc::SYS_dup => c_long::from(dup::duplicate(old, || call() as c_int)),
        libc::SYS_dup3 => c_long::from(dup::replace(old, new, || call() as c_int)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_dup2 => c_long::from(dup::replace(old, new, || call() as c_int)),
        libc::SYS_pidfd_getfd => {
            let copy = call();
            if let Ok(cookie) = sys::cookie(copy as c_int)
                && let Some(shared) = run::shared()
            {
                shared.leave_alone(cookie);
            }
            copy
        }
        _ => return None,
    })
}

/// Where sockets and connections come from.
fn connections(
    number: c_long,
    arguments: [c_ulong; 6],
    call: &impl Fn() -> c_long,
) -> Option<c_long> {
    let [a, b, c, d, ..] = arguments;
    let before = epoch::now();
    Some(match number {
        libc::SYS_socket => {
            let fd = call();
            socket::made(a as c_int, b as c_int, c as c_int, fd as c_int, before);
            fd
        }
        libc::SYS_accept => {
            let fd = call();
            socket::accepted(a as c_int, fd as c_int, false, before);
            fd
        }
        libc::SYS_accept4 => {
            let fd = call();
            let cloexec = d as c_int & libc::SOCK_CLOEXEC != 0;
            socket::accepted(a as c_int, fd as c_int, cloexec, before);
            fd
        }
        libc::SYS_connect => {
            let result = call();
            socket::connected(a as c_int, result >= 0);
            result
        }
        libc::SYS_sendto if d as c_int & libc::MSG_FASTOPEN != 0 => {
            let sent = call();
            socket::connected(a as c_int, sent >= 0);
            sent
        }
        _ => return None,
    })
}

/// Messages, in which sockets travel.
fn messages(number: c_long, arguments: [c_ulong; 6], call: &impl Fn() -> c_long) -> Option<c_long> {
    let [_, b, c, ..] = arguments;
    Some(match number {
        libc::SYS_sendmsg => {
            // SAFETY: the program's own message, valid for its own call.
            unsafe { message::mark(b as *const libc::msghdr) };
            call()
        }
        libc::SYS_sendmmsg => {
            // SAFETY: the program's own messages, valid for its own call.
            unsafe { message::mark_all(b as *const libc::mmsghdr, c as c_uint) };
            call()
        }
        libc::SYS_recvmsg => {
            let length = call();
            if length >= 0 {
                // SAFETY: the kernel has just filled it in.
                unsafe { message::mark(b as *const libc::msghdr) };
            }
            length
        }
        libc::SYS_recvmmsg => {
            let received = call();
            if let Ok(count) = c_uint::try_from(received) {
                // SAFETY: the kernel has just filled in that many.
                unsafe { message::mark_all(b as *const libc::mmsghdr, count) };
            }
            received
        }
        _ => return None,
    })
}

/// What changes a socket, and the epoll sets it is in.
fn options(number: c_long, arguments: [c_ulong; 6], call: &impl Fn() -> c_long) -> Option<c_long> {
    let [a, b, c, _, e, _] = arguments;
    Some(match number {
        libc::SYS_shutdown => c_long::from(shutdown::shutting(a as c_int, b as c_int, || {
            call() as c_int
        })),
        libc::SYS_setsockopt => {
            let (level, name) = (b as c_int, c as c_int);
            c_long::from(shutdown::setting(a as c_int, level, name, || {
                call() as c_int
            }))
        }
        libc::SYS_getsockopt => {
            let (level, name) = (b as c_int, c as c_int);
            let length = e as *mut libc::socklen_t;
            // SAFETY: the program's own length.
            c_long::from(unsafe {
                shutdown::getting(a as c_int, level, name, length, || call() as c_int)
            })
        }
        libc::SYS_epoll_ctl => {
            let (set, fd) = (a as c_int, c as c_int);
            c_long::from(super::epoll::control(set, b as c_int, fd, || {
                call() as c_int
            }))
        }
        libc::SYS_ioctl => c_long::from(dup::io_control(a as c_int, b, || call() as c_int)),
        _ => return None,
    })
}

/// Processes that begin, become another program, or part with what they share.
fn processes(
    number: c_long,
    arguments: [c_ulong; 6],
    call: &impl Fn() -> c_long,
) -> Option<c_long> {
    let [a, b, ..] = arguments;
    Some(match number {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork => fork::forking(call),
        libc::SYS_clone => fork::cloning(a, call),
        // The first field of struct clone_args is the flags.
        libc::SYS_clone3 if a != 0 && b >= 64 => {
            // SAFETY: the program's own arguments, that long.
            fork::cloning(unsafe { (a as *const u64).read_unaligned() }, call)
        }
        libc::SYS_unshare => {
            if a as c_int & libc::CLONE_FILES != 0 {
                run::blind();
            }
            call()
        }
        libc::SYS_execve => {
            // SAFETY: the program's own path.
            unsafe { exec::announce((a as *const c_void).cast()) };
            call()
        }
        libc::SYS_execveat => {
            // SAFETY: the program's own path.
            unsafe { exec::announce_at(a as c_int, (b as *const c_void).cast()) };
            call()
        }
        libc::SYS_exit => {
            if run::current().is_some() && sys::has_one_thread() == Ok(true) {
                exit::hand_over_everything();
            }
            call()
        }
        _ => return None,
    })
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
        handover::withdraw();
    }
    forward!(
        PRCTL(option, a, b, c, d) as fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int,
        else -1
    )
}
