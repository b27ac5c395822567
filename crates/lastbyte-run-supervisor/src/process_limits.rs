//! What we ask of the system before the program starts.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::channel::{self, Mapping, check};

/// The program's own limit, and ours, which is as high as it goes: we hold what
/// many processes closed.
pub(crate) fn raise_file_limit() -> io::Result<(libc::rlimit, u64)> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: room for a limit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) })?;
    // SAFETY: just written.
    let before = unsafe { limit.assume_init() };
    let raised = libc::rlimit {
        rlim_cur: before.rlim_max,
        ..before
    };
    // SAFETY: a plain structure. A refusal leaves the old limit, which is then ours.
    let is_raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0;
    Ok((
        before,
        if is_raised {
            raised.rlim_cur
        } else {
            before.rlim_cur
        },
    ))
}

/// Sockets we were started with have holders outside the run.
pub(crate) fn leave_inherited_sockets_alone(mapping: Mapping) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        mapping.get().set_blind();
        return;
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for fd in numbers {
        if let Ok(cookie) = channel::cookie(fd) {
            mapping.get().leave_alone(cookie);
        }
    }
}

pub(crate) fn open_process(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: no memory involved.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: just made, if it is one.
    check(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}
