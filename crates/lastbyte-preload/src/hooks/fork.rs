//! fork and its kin: who else holds our descriptors now.
//!
//! fork itself is counted by pthread_atfork(3), which also sees the forks that
//! glibc makes inside (forkpty, daemon).

use core::ffi::{c_char, c_int, c_ulong, c_void};
use core::sync::atomic::{AtomicI32, Ordering};

use crate::next::forward;
use crate::{coverage, epoch, run, table};

static LAST_CHILD: AtomicI32 = AtomicI32::new(0);

/// The child most recently forked; zero if none was.
pub(crate) fn last_child() -> c_int {
    LAST_CHILD.load(Ordering::Relaxed)
}

/// fork(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fork() -> c_int {
    let child = forward!(FORK() as fn() -> c_int, else -1);
    LAST_CHILD.store(child.max(0), Ordering::Relaxed);
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
    epoch::fork_begins();
    let child = forward!(FORK_BARE() as fn() -> c_int, else -1);
    if child == 0 {
        run::adopt_child();
    } else {
        epoch::fork_is_done();
    }
    child
}

/// vfork(2). The child returns on our caller's stack, so this function can have
/// no frame; the return address waits in a register that system calls preserve.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn vfork() -> c_int {
    core::arch::naked_asm!(
        "pop rdi",
        "lock inc dword ptr [rip + {spawns}]",
        "mov eax, {vfork}",
        "syscall",
        "push rdi",
        "test rax, rax",
        "jz 2f",
        "lock inc dword ptr [rip + {spawns} + 4]",
        "test rax, rax",
        "js 3f",
        "2:",
        "ret",
        "3:",
        "push rax",
        "call qword ptr [rip + {errno}@GOTPCREL]",
        "pop rdx",
        "neg edx",
        "mov dword ptr [rax], edx",
        "mov eax, -1",
        "ret",
        spawns = sym epoch::SPAWNS,
        vfork = const libc::SYS_vfork,
        errno = sym libc::__errno_location,
    )
}

/// vfork(2), as fork(2): POSIX let it be so, and no frame can be shared here.
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn vfork() -> c_int {
    // SAFETY: as the caller's call.
    unsafe { fork() }
}

/// glibc's other name for vfork(2).
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn __vfork() -> c_int {
    core::arch::naked_asm!("jmp {vfork}", vfork = sym vfork)
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

/// posix_spawn_file_actions_adddup2(3): the child will hold `fd` as `copy`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn posix_spawn_file_actions_adddup2(
    actions: *mut c_void,
    fd: c_int,
    copy: c_int,
) -> c_int {
    table::shared(fd);
    forward!(
        SPAWN_ADDDUP2(actions, fd, copy) as fn(*mut c_void, c_int, c_int) -> c_int,
        else libc::ENOSYS
    )
}
