//! exec: what we cannot follow the program into is said, and connections that exec
//! closes are handed over.

use core::ffi::{c_char, c_int, c_void};

use super::exit;
use crate::real_libc::{self, forward};
use crate::{coverage, sys};

unsafe extern "C" {
    static environ: *const c_void;
}

/// Before an exec of `path`.
///
/// # Safety
/// `path` is NULL or a NUL-terminated string.
pub(super) unsafe fn announce(path: *const c_char) {
    // SAFETY: the caller's promise.
    unsafe { coverage::announce(path) };
    exit::hand_over_what_exec_closes();
}

/// Before an exec of what is found for `file` in PATH.
///
/// # Safety
/// `file` is NULL or a NUL-terminated string.
unsafe fn announce_found(file: *const c_char) {
    // SAFETY: the caller's promise.
    unsafe { coverage::announce_found(file) };
    exit::hand_over_what_exec_closes();
}

/// execve(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn execve(
    path: *const c_char,
    arguments: *const c_void,
    environment: *const c_void,
) -> c_int {
    // SAFETY: the program's own path.
    unsafe { announce(path) };
    forward!(
        EXECVE(path, arguments, environment) as fn(*const c_char, *const c_void, *const c_void) -> c_int,
        else -1
    )
}

/// execv(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn execv(path: *const c_char, arguments: *const c_void) -> c_int {
    // SAFETY: `environ` is libc's; reading it here races no more than execv itself does.
    unsafe { execve(path, arguments, environ) }
}

/// execvp(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn execvp(file: *const c_char, arguments: *const c_void) -> c_int {
    // SAFETY: the program's own file name.
    unsafe { announce_found(file) };
    forward!(EXECVP(file, arguments) as fn(*const c_char, *const c_void) -> c_int, else -1)
}

/// execvpe(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn execvpe(
    file: *const c_char,
    arguments: *const c_void,
    environment: *const c_void,
) -> c_int {
    // SAFETY: the program's own file name.
    unsafe { announce_found(file) };
    forward!(
        EXECVPE(file, arguments, environment) as fn(*const c_char, *const c_void, *const c_void) -> c_int,
        else -1
    )
}

/// Before an exec of `path`, which begins at `folder`.
///
/// # Safety
/// `path` is NULL or a NUL-terminated string.
pub(super) unsafe fn announce_at(folder: c_int, path: *const c_char) {
    // SAFETY: the caller's promise.
    unsafe { coverage::announce_at(folder, path) };
    exit::hand_over_what_exec_closes();
}

/// execveat(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn execveat(
    folder: c_int,
    path: *const c_char,
    arguments: *const c_void,
    environment: *const c_void,
    flags: c_int,
) -> c_int {
    // SAFETY: the program's own path.
    unsafe { announce_at(folder, path) };
    match real_libc::EXECVEAT.find() {
        Some(_) => forward!(
            EXECVEAT(folder, path, arguments, environment, flags)
                as fn(c_int, *const c_char, *const c_void, *const c_void, c_int) -> c_int,
            else -1
        ),
        // glibc before 2.34.
        None => {
            // SAFETY: as the program's call.
            let error = unsafe { sys::exec_at(folder, path, arguments, environment, flags) };
            sys::set_errno(error);
            -1
        }
    }
}

/// fexecve(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fexecve(
    fd: c_int,
    arguments: *const c_void,
    environment: *const c_void,
) -> c_int {
    coverage::announce_open(fd);
    exit::hand_over_what_exec_closes();
    forward!(
        FEXECVE(fd, arguments, environment) as fn(c_int, *const c_void, *const c_void) -> c_int,
        else -1
    )
}

/// What fails as a function that is not there does.
#[cfg(target_arch = "x86_64")]
extern "C" fn missing() -> c_int {
    sys::set_errno(libc::ENOSYS);
    -1
}

#[cfg(target_arch = "x86_64")]
fn address(real: &real_libc::Real) -> *mut c_void {
    real.find()
        .unwrap_or(missing as extern "C" fn() -> c_int as *mut c_void)
}

/// A function with a variable number of arguments: takes note of the first and jumps to
/// libc's function with all of them in place.
#[cfg(target_arch = "x86_64")]
macro_rules! variadic {
    ($name:ident, $note:ident, $announce:ident, $real:ident) => {
        #[doc = concat!(stringify!($name), "(3).")]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() -> c_int {
            core::arch::naked_asm!(
                "push rdi",
                "push rsi",
                "push rdx",
                "push rcx",
                "push r8",
                "push r9",
                // The number of vector registers used; with the return address above it
                // the stack is aligned.
                "push rax",
                "call {note}",
                "mov r11, rax",
                "pop rax",
                "pop r9",
                "pop r8",
                "pop rcx",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "jmp r11",
                note = sym $note,
            )
        }

        unsafe extern "C" fn $note(path: *const c_char) -> *mut c_void {
            // SAFETY: the program's own path.
            unsafe { $announce(path) };
            address(&real_libc::$real)
        }
    };
}

#[cfg(target_arch = "x86_64")]
variadic!(execl, before_execl, announce, EXECL);
#[cfg(target_arch = "x86_64")]
variadic!(execle, before_execle, announce, EXECLE);
#[cfg(target_arch = "x86_64")]
variadic!(execlp, before_execlp, announce_found, EXECLP);
