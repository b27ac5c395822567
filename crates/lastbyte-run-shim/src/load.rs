//! The beginning and the end of the shim in a process: it finds its run before the
//! program starts, and hands over what is open when the program ends.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::size_of;
use core::{ptr, slice};

use lastbyte_run_protocol::{Address, Control, ENVIRONMENT, ENVIRONMENT_LENGTH, Shared};

use crate::hooks::{exit, fork};
use crate::run::{self, Found};
use crate::{epoch, notes, real_libc, sys};

unsafe extern "C" {
    /// What at_quick_exit(3), which is not in the shared libc, calls.
    fn __cxa_at_quick_exit(handler: extern "C" fn(*mut c_void), library: *mut c_void) -> c_int;
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = start;

#[used]
#[unsafe(link_section = ".fini_array")]
static FINISH: extern "C" fn() = finish;

/// Before the program's own constructors. glibc passes what main will get.
extern "C" fn start(
    _count: c_int,
    _arguments: *const *const c_char,
    environment: *const *const c_char,
) {
    real_libc::resolve();
    // SAFETY: glibc passes the NUL-terminated environment.
    let Some(value) = (unsafe { variable(environment) }) else {
        return;
    };
    // SAFETY: `variable` found that many bytes there.
    let text = unsafe { slice::from_raw_parts(value, ENVIRONMENT_LENGTH) };
    let Some(address) = Address::parse(text) else {
        return;
    };
    if sys::cookie(address.channel) != Ok(address.cookie) {
        return;
    }
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    let Some(block) = map::<Shared>(address.memory, writable) else {
        return;
    };
    let Some(control) = map::<Control>(address.control, libc::PROT_READ) else {
        return;
    };
    // SAFETY: mapped, long enough, page-aligned, and all atomics; never unmapped.
    if !unsafe { (*block).is_ours() && (*control).is_ours() } {
        return;
    }
    // SAFETY: the handlers are plain functions that stay loaded.
    if unsafe {
        libc::pthread_atfork(
            Some(before_fork),
            Some(after_fork),
            Some(adopt_child_handler),
        )
    } != 0
    {
        return;
    }
    // SAFETY: as above. Handlers run in reverse order, so ours, the first, is the last.
    unsafe { __cxa_at_quick_exit(quick_finish, ptr::null_mut()) };
    let found = Found {
        address,
        variable: value,
        shared: block,
        control,
    };
    // SAFETY: as above.
    unsafe { run::join(&found) };
    notes::inherited();
}

/// Maps a block of the run. One that is too short would be a SIGBUS later.
fn map<T>(fd: c_int, protection: c_int) -> Option<*mut T> {
    let length = usize::try_from(sys::stat(fd).ok()?.st_size).ok()?;
    if length < size_of::<T>() {
        return None;
    }
    let block = sys::map(fd, size_of::<T>(), protection).ok()?;
    Some(block.cast())
}

/// At exit, after the program's own destructors.
extern "C" fn finish() {
    exit::hand_over_everything();
}

/// As [`finish`], for quick_exit(3).
extern "C" fn quick_finish(_: *mut c_void) {
    exit::hand_over_everything();
}

extern "C" fn before_fork() {
    epoch::fork_begins();
}

extern "C" fn after_fork() {
    epoch::fork_is_done();
}

extern "C" fn adopt_child_handler() {
    fork::start_as_child();
}

/// The value of our variable, if it is there and as long as it must be.
///
/// # Safety
/// `environment` is NULL or a NULL-terminated list of strings.
unsafe fn variable(mut environment: *const *const c_char) -> Option<*mut u8> {
    if environment.is_null() {
        return None;
    }
    loop {
        // SAFETY: within the list, whose end is NULL.
        let entry = unsafe { *environment };
        if entry.is_null() {
            return None;
        }
        // SAFETY: an entry is a NUL-terminated string.
        let text = unsafe { CStr::from_ptr(entry) }.to_bytes();
        if let Some(value) = text.strip_prefix(ENVIRONMENT.as_bytes())
            && let Some(value) = value.strip_prefix(b"=")
            && value.len() == ENVIRONMENT_LENGTH
        {
            return Some(value.as_ptr().cast_mut());
        }
        // SAFETY: not at the end yet.
        environment = unsafe { environment.add(1) };
    }
}
