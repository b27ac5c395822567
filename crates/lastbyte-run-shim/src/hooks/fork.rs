//! fork and its kin: who else holds our descriptors now.
//!
//! fork itself is counted by pthread_atfork(3), which also sees the forks that
//! glibc makes inside (forkpty, daemon).

use core::ffi::{c_char, c_int, c_long, c_ulong, c_void};

use super::exit;
use crate::real_libc::forward;
use crate::{coverage, epoch, fd_table, io_uring, real_libc, run, sys};

/// fork(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fork() -> c_int {
    let child = forward!(FORK() as fn() -> c_int, else -1);
    epoch::forked(child);
    child
}

/// glibc's other name for fork(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __fork() -> c_int {
    // SAFETY: as the caller's call.
    unsafe { fork() }
}

/// _Fork(3): fork without the handlers.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _Fork() -> c_int {
    forking(|| forward!(FORK_BARE() as fn() -> c_int, else -1))
}

/// A fork that libc's handlers do not see: `call` returns in both processes.
pub(super) fn forking<T: Copy + Into<i64>>(call: impl FnOnce() -> T) -> T {
    epoch::fork_begins();
    let child = call();
    match child.into() {
        0 => start_as_child(),
        number => {
            epoch::fork_is_done();
            epoch::forked(c_int::try_from(number).unwrap_or(0));
        }
    }
    child
}

/// After a fork, in the child.
pub(crate) fn start_as_child() {
    run::own_memory();
    epoch::start_as_child();
    io_uring::start_as_child();
    exit::start_as_child();
}

/// clone(2), glibc's wrapper: the child runs `entry` and never returns here.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn clone(
    entry: *mut c_void,
    stack: *mut c_void,
    flags: c_int,
    argument: *mut c_void,
    parent_tid: c_ulong,
    tls: c_ulong,
    child_tid: c_ulong,
) -> c_int {
    let call = || {
        forward!(
            CLONE(entry, stack, flags, argument, parent_tid, tls, child_tid)
                as fn(*mut c_void, *mut c_void, c_int, *mut c_void, c_ulong, c_ulong, c_ulong) -> c_int,
            else -1
        )
    };
    if flags & libc::CLONE_FILES != 0 && flags & libc::CLONE_THREAD != 0 {
        return call();
    }
    epoch::fork_begins();
    if flags & libc::CLONE_FILES != 0 {
        // Another process with our very table: a look at one is a look at both,
        // but its closes are ours too.
        run::blind();
    }
    let child = call();
    epoch::fork_is_done();
    child
}

/// clone(2) by its number, without CLONE_VM: fork, with something added.
pub(super) fn cloning(flags: c_ulong, call: &impl Fn() -> c_long) -> c_long {
    if flags & libc::CLONE_FILES as c_ulong != 0 {
        run::blind();
    }
    forking(call)
}

/// unshare(2): threads that part their tables hold descriptors nobody looks for.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn unshare(flags: c_int) -> c_int {
    if flags & libc::CLONE_FILES != 0 {
        run::blind();
    }
    forward!(UNSHARE(flags) as fn(c_int) -> c_int, else -1)
}

fn spawning<T>(call: impl FnOnce() -> T) -> T {
    epoch::spawn_begins();
    let result = call();
    epoch::spawn_is_done();
    result
}

/// system(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn system(command: *const c_char) -> c_int {
    spawning(|| forward!(SYSTEM(command) as fn(*const c_char) -> c_int, else -1))
}

/// popen(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn popen(command: *const c_char, mode: *const c_char) -> *mut c_void {
    spawning(|| {
        forward!(
            POPEN(command, mode) as fn(*const c_char, *const c_char) -> *mut c_void,
            else core::ptr::null_mut()
        )
    })
}

/// posix_spawn(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn posix_spawn(
    pid: *mut c_void,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: *const c_void,
    environment: *const c_void,
) -> c_int {
    // SAFETY: the program's own path.
    unsafe { coverage::announce(path) };
    spawning(|| {
        forward!(
            POSIX_SPAWN(pid, path, actions, attributes, arguments, environment)
                as fn(*mut c_void, *const c_char, *const c_void, *const c_void, *const c_void, *const c_void) -> c_int,
            else libc::ENOSYS
        )
    })
}

/// posix_spawnp(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn posix_spawnp(
    pid: *mut c_void,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: *const c_void,
    environment: *const c_void,
) -> c_int {
    // SAFETY: the program's own file name.
    unsafe { coverage::announce_found(file) };
    spawning(|| {
        forward!(
            POSIX_SPAWNP(pid, file, actions, attributes, arguments, environment)
                as fn(*mut c_void, *const c_char, *const c_void, *const c_void, *const c_void, *const c_void) -> c_int,
            else libc::ENOSYS
        )
    })
}

/// pidfd_spawn(3). Where libc has none (before 2.39) programs that look for it find this
/// one all the same, so it is put together then.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pidfd_spawn(
    pidfd: *mut c_int,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: *const c_void,
    environment: *const c_void,
) -> c_int {
    if real_libc::PIDFD_SPAWN.find().is_none() {
        // SAFETY: the program's own arguments, and a place for the pid.
        return put_together(pidfd, |pid| unsafe {
            posix_spawn(pid, path, actions, attributes, arguments, environment)
        });
    }
    // SAFETY: the program's own path.
    unsafe { coverage::announce(path) };
    spawning(|| {
        forward!(
            PIDFD_SPAWN(pidfd, path, actions, attributes, arguments, environment)
                as fn(*mut c_int, *const c_char, *const c_void, *const c_void, *const c_void, *const c_void) -> c_int,
            else libc::ENOSYS
        )
    })
}

/// pidfd_spawnp(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pidfd_spawnp(
    pidfd: *mut c_int,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: *const c_void,
    environment: *const c_void,
) -> c_int {
    if real_libc::PIDFD_SPAWNP.find().is_none() {
        // SAFETY: the program's own arguments, and a place for the pid.
        return put_together(pidfd, |pid| unsafe {
            posix_spawnp(pid, file, actions, attributes, arguments, environment)
        });
    }
    // SAFETY: the program's own file name.
    unsafe { coverage::announce_found(file) };
    spawning(|| {
        forward!(
            PIDFD_SPAWNP(pidfd, file, actions, attributes, arguments, environment)
                as fn(*mut c_int, *const c_char, *const c_void, *const c_void, *const c_void, *const c_void) -> c_int,
            else libc::ENOSYS
        )
    })
}

/// pidfd_spawn(3) out of posix_spawn(3). The child that is opened cannot be another:
/// nobody has waited for it.
fn put_together(pidfd: *mut c_int, spawn: impl FnOnce(*mut c_void) -> c_int) -> c_int {
    let mut pid: c_int = 0;
    let error = spawn((&raw mut pid).cast());
    if error != 0 {
        return error;
    }
    match sys::open_process(pid) {
        Ok(fd) => {
            // SAFETY: the program's own place for the descriptor.
            unsafe { *pidfd = fd };
            0
        }
        Err(error) => error,
    }
}

/// wordexp(3), which runs a shell for `$(…)`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn wordexp(
    words: *const c_char,
    expanded: *mut c_void,
    flags: c_int,
) -> c_int {
    spawning(|| {
        forward!(
            WORDEXP(words, expanded, flags) as fn(*const c_char, *mut c_void, c_int) -> c_int,
            // WRDE_NOSPACE
            else 1
        )
    })
}

/// posix_spawn_file_actions_adddup2(3): the child will hold `fd` as `copy`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn posix_spawn_file_actions_adddup2(
    actions: *mut c_void,
    fd: c_int,
    copy: c_int,
) -> c_int {
    fd_table::shared(fd);
    forward!(
        SPAWN_ADDDUP2(actions, fd, copy) as fn(*mut c_void, c_int, c_int) -> c_int,
        else libc::ENOSYS
    )
}
