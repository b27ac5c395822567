//! System calls without libc in between: no `errno`, no cancellation point, and
//! no way back into our own hooks.

mod file;
mod process;
mod socket;

use core::ffi::{c_int, c_long};
use core::sync::atomic::{AtomicBool, Ordering};

pub(crate) use file::*;
pub(crate) use process::*;
pub(crate) use socket::*;

/// A failed system call's errno, positive.
pub(crate) type Result<T> = core::result::Result<T, c_int>;

/// The program has forbidden itself system calls.
static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// From here on no system call is made that the program did not ask for: its filter may
/// end it for one.
pub(crate) fn forbid() {
    FORBIDDEN.store(true, Ordering::Relaxed);
}

/// Makes a system call of our own. Unused arguments are ignored by the kernel. Fails with
/// EPERM after [`forbid`].
///
/// # Safety
/// As the call itself: pointers must be valid for what it reads and writes.
#[inline]
pub(crate) unsafe fn call(number: c_long, a: [usize; 6]) -> Result<usize> {
    if FORBIDDEN.load(Ordering::Relaxed) {
        return Err(libc::EPERM);
    }
    // SAFETY: the caller's promise.
    unsafe { call_for_program(number, a) }
}

/// Makes a system call that the program asked for.
///
/// # Safety
/// As [`call`].
#[inline]
pub(crate) unsafe fn call_for_program(number: c_long, a: [usize; 6]) -> Result<usize> {
    let value: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel clobbers rcx and r11 and returns in rax; memory is the caller's promise.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => value,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: arguments in x0..x5, number in x8, result in x0; memory is the caller's promise.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] => value,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack),
        );
    }
    if (-4095..0).contains(&value) {
        Err(-value as c_int)
    } else {
        Ok(value as usize)
    }
}

fn word(value: c_int) -> usize {
    value as isize as usize
}

/// `errno` as the calling program sees it.
pub(crate) fn set_errno(value: c_int) {
    // SAFETY: glibc returns this thread's errno, always valid.
    unsafe { *libc::__errno_location() = value };
}

/// The calling program's `errno`.
pub(crate) fn errno() -> c_int {
    // SAFETY: as in `set_errno`.
    unsafe { *libc::__errno_location() }
}
