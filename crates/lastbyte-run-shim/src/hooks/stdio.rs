//! fclose, freopen: glibc closes the stream's descriptor without calling close(2) by name.

use core::ffi::{c_char, c_int};

use libc::FILE;

use super::close::{Begun, begin, part};
use crate::fd_table::Made;
use crate::real_libc::forward;
use crate::{descriptors, sys};

/// fclose(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fclose(stream: *mut FILE) -> c_int {
    // SAFETY: the program's own stream.
    let begun = unsafe { end(stream) };
    let result = forward!(FCLOSE(stream) as fn(*mut FILE) -> c_int, else -1);
    match begun.map_or(0, Begun::outcome) {
        0 => result,
        error => {
            sys::set_errno(error);
            libc::EOF
        }
    }
}

/// freopen(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn freopen(
    path: *const c_char,
    mode: *const c_char,
    stream: *mut FILE,
) -> *mut FILE {
    let call = || {
        forward!(
            FREOPEN(path, mode, stream) as fn(*const c_char, *const c_char, *mut FILE) -> *mut FILE,
            else core::ptr::null_mut()
        )
    };
    // SAFETY: the program's own stream.
    unsafe { reopening(stream, call) }
}

/// freopen(3) for programs compiled with 64-bit file offsets.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn freopen64(
    path: *const c_char,
    mode: *const c_char,
    stream: *mut FILE,
) -> *mut FILE {
    let call = || {
        forward!(
            FREOPEN64(path, mode, stream) as fn(*const c_char, *const c_char, *mut FILE) -> *mut FILE,
            else core::ptr::null_mut()
        )
    };
    // SAFETY: the program's own stream.
    unsafe { reopening(stream, call) }
}

/// Ends what the stream means before it means a file. There is no way to tell what came
/// of it.
///
/// # Safety
/// `stream` is NULL or an open stream.
unsafe fn reopening(stream: *mut FILE, call: impl FnOnce() -> *mut FILE) -> *mut FILE {
    // SAFETY: the caller's promise.
    let begun = unsafe { end(stream) };
    let result = call();
    if let Some(begun) = begun {
        let errno = sys::errno();
        begun.outcome();
        sys::set_errno(errno);
    }
    result
}

/// Ends the connection of a stream whose descriptor libc is about to close.
///
/// # Safety
/// `stream` is NULL or an open stream.
unsafe fn end(stream: *mut FILE) -> Option<Begun> {
    if stream.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let fd = unsafe { libc::fileno(stream) };
    if fd < 0 {
        return None;
    }
    // What the buffer holds belongs to the connection, and must be out before
    // its FIN. If it does not go out, fclose reports that as it always did.
    // SAFETY: the caller's promise.
    if descriptors::kind(fd) == Made::Other || unsafe { libc::fflush(stream) } != 0 {
        part(fd);
        return None;
    }
    begin(fd)
}
