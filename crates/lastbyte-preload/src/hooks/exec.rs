//! exec: what we cannot follow the program into is said.

use core::ffi::{c_char, c_int, c_void};

use crate::coverage;
use crate::next::forward;

unsafe extern "C" {
    static environ: *const c_void;
}

/// execve(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn execve(
    path: *const c_char,
    arguments: *const c_void,
    environment: *const c_void,
) -> c_int {
    // SAFETY: the program's own path.
    unsafe { coverage::announce(path) };
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
    unsafe { coverage::announce_found(file) };
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
    unsafe { coverage::announce_found(file) };
    forward!(
        EXECVPE(file, arguments, environment) as fn(*const c_char, *const c_void, *const c_void) -> c_int,
        else -1
    )
}
