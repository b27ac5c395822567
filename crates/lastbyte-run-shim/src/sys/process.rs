//! Processes, threads, time.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::AtomicU32;

use super::{Result, call, call_for_program, word};

/// The process, never cached: a vforked child differs from what its memory says.
pub(crate) fn pid() -> c_int {
    // SAFETY: no memory involved; cannot fail.
    unsafe { call(libc::SYS_getpid, [0; 6]) }.map_or(0, |pid| pid as c_int)
}

/// The calling thread.
pub(crate) fn tid() -> c_int {
    // SAFETY: no memory involved; cannot fail.
    unsafe { call(libc::SYS_gettid, [0; 6]) }.map_or(0, |tid| tid as c_int)
}

/// The parent process.
pub(crate) fn parent() -> c_int {
    // SAFETY: no memory involved; cannot fail.
    unsafe { call(libc::SYS_getppid, [0; 6]) }.map_or(0, |pid| pid as c_int)
}

/// Nanoseconds as the kernel wants them.
fn time(nanoseconds: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000).cast_signed(),
        tv_nsec: (nanoseconds % 1_000_000_000).cast_signed(),
    }
}

/// Sleeps so many nanoseconds, or until a signal.
pub(crate) fn sleep(nanoseconds: u32) {
    let time = time(nanoseconds.into());
    // SAFETY: a local; no remainder is wanted.
    let _ = unsafe {
        call(
            libc::SYS_nanosleep,
            [(&raw const time) as usize, 0, 0, 0, 0, 0],
        )
    };
}

/// Sleeps while `*word == expected`, so many nanoseconds at most.
pub(crate) fn futex_wait(word: *const AtomicU32, expected: u32, nanoseconds: u64) -> Result<()> {
    let time = time(nanoseconds);
    let arguments = [
        word as usize,
        libc::FUTEX_WAIT as usize,
        expected as usize,
        (&raw const time) as usize,
        0,
        0,
    ];
    // SAFETY: the word lies in the control block, which is never unmapped.
    unsafe { call(libc::SYS_futex, arguments) }.map(drop)
}

/// Eight random bytes; `None` where the system has none, or not without waiting.
pub(crate) fn random() -> Option<[u8; 8]> {
    let mut bytes = [0; 8];
    let arguments = [
        bytes.as_mut_ptr() as usize,
        bytes.len(),
        libc::GRND_NONBLOCK as usize,
        0,
        0,
        0,
    ];
    // SAFETY: room for as many bytes as asked for.
    let got = unsafe { call(libc::SYS_getrandom, arguments) };
    (got == Ok(bytes.len())).then_some(bytes)
}

/// CLOCK_MONOTONIC in nanoseconds; zero where the system does not tell.
pub(crate) fn monotonic() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let arguments = [
        libc::CLOCK_MONOTONIC as usize,
        (&raw mut time) as usize,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: room for a time.
    match unsafe { call(libc::SYS_clock_gettime, arguments) } {
        Ok(_) => time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned(),
        Err(_) => 0,
    }
}

/// Whether the process has one thread, asked without /proc: unshare(CLONE_THREAD) does
/// nothing then, and fails otherwise.
pub(crate) fn has_one_thread() -> Result<bool> {
    // SAFETY: no memory involved.
    match unsafe { call(libc::SYS_unshare, [word(libc::CLONE_THREAD), 0, 0, 0, 0, 0]) } {
        Ok(_) => Ok(true),
        Err(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// execveat(2), which returns only where it fails: the error.
///
/// # Safety
/// As the call: strings, and lists of strings that end in NULL.
pub(crate) unsafe fn exec_at(
    folder: c_int,
    path: *const c_char,
    arguments: *const c_void,
    environment: *const c_void,
    flags: c_int,
) -> c_int {
    let words = [
        word(folder),
        path as usize,
        arguments as usize,
        environment as usize,
        word(flags),
        0,
    ];
    // SAFETY: the caller's promise.
    unsafe { call_for_program(libc::SYS_execveat, words) }
        .err()
        .unwrap_or(libc::ENOSYS)
}

/// pidfd_open(2).
pub(crate) fn open_process(process: c_int) -> Result<c_int> {
    // SAFETY: no memory involved.
    unsafe { call_for_program(libc::SYS_pidfd_open, [word(process), 0, 0, 0, 0, 0]) }
        .map(|fd| fd as c_int)
}

/// Whether there is such a thread in this process.
pub(crate) fn thread_exists(thread: c_int) -> bool {
    // SAFETY: no memory involved; signal 0 only asks.
    unsafe { call(libc::SYS_tgkill, [word(pid()), word(thread), 0, 0, 0, 0]) }.is_ok()
}

/// The calling thread's name.
pub(crate) fn thread_name() -> [u8; 16] {
    let mut name = [0; 16];
    let arguments = [
        word(libc::PR_GET_NAME),
        name.as_mut_ptr() as usize,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: PR_GET_NAME writes at most 16 bytes.
    let _ = unsafe { call(libc::SYS_prctl, arguments) };
    name
}

/// The real user.
pub(crate) fn user() -> u32 {
    user_and_group().0
}

/// The real user and group.
pub(crate) fn user_and_group() -> (u32, u32) {
    // SAFETY: no memory involved; neither can fail.
    let id = |number| unsafe { call(number, [0; 6]) }.map_or(0, |id| id as u32);
    (id(libc::SYS_getuid), id(libc::SYS_getgid))
}
