//! fclose, freopen: glibc closes the stream's descriptor without calling close(2) by name.

use core::ffi::{c_char, c_int};

use lastbyte_handoff::Kind;
use libc::FILE;

use super::close::part;
use crate::fd_table::Made;
use crate::handover::Handed;
use crate::holders::Turn;
use crate::real_libc::forward;
use crate::verdict::{self, Verdict};
use crate::{descriptors, handover, sys};

/// fclose(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fclose(stream: *mut FILE) -> c_int {
    // SAFETY: the program's own stream.
    let (handed, turn) = unsafe { end(stream) };
    let result = forward!(FCLOSE(stream) as fn(*mut FILE) -> c_int, else -1);
    turn.is_over();
    match handed.map_or(0, Handed::outcome) {
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
    let (handed, turn) = unsafe { end(stream) };
    let result = call();
    turn.is_over();
    if let Some(handed) = handed {
        let errno = sys::errno();
        handed.outcome();
        sys::set_errno(errno);
    }
    result
}

/// Ends the connection of a stream whose descriptor libc is about to close.
///
/// # Safety
/// `stream` is NULL or an open stream.
unsafe fn end(stream: *mut FILE) -> (Option<Handed>, Turn) {
    let nothing = (None, Turn::NONE);
    if stream.is_null() {
        return nothing;
    }
    // SAFETY: the caller's promise.
    let fd = unsafe { libc::fileno(stream) };
    if fd < 0 {
        return nothing;
    }
    // What the buffer holds belongs to the connection, and must be out before
    // its FIN. If it does not go out, fclose reports that as it always did.
    // SAFETY: the caller's promise.
    if descriptors::kind(fd) == Made::Other || unsafe { libc::fflush(stream) } != 0 {
        part(fd);
        return nothing;
    }
    let (verdict, turn) = verdict::on(fd);
    let handed = match verdict {
        Verdict::HandOver(case) => handover::give(case, fd, Kind::End),
        Verdict::FinThenPlain => {
            let _ = sys::shutdown_write(fd);
            None
        }
        Verdict::Plain | Verdict::Hidden => None,
    };
    part(fd);
    (handed, turn)
}
