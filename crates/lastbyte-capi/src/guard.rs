//! Where Rust ends: errno, panics, descriptors.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lastbyte::{CloseError, Report};
use libc::c_int;

use crate::types::{Out, lb_report};

/// Runs `body`; an error or a panic becomes −1 and errno.
pub(crate) fn call(body: impl FnOnce() -> Result<(), c_int>) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => fail(error),
        Err(_) => fail(libc::ENOTRECOVERABLE),
    }
}

fn fail(error: c_int) -> c_int {
    // SAFETY: this thread's errno, always valid.
    unsafe { *libc::__errno_location() = error };
    -1
}

/// The descriptor, if it is one.
pub(crate) fn own(fd: c_int) -> Result<OwnedFd, c_int> {
    if fd < 0 {
        return Err(libc::EBADF);
    }
    // SAFETY: no memory involved.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(libc::EBADF);
    }
    // SAFETY: open, and the caller gives it to us; refusals give it back.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The errno of a failed close. A socket that was refused stays the caller's; what
/// an ending told goes into `report`.
pub(crate) fn outcome(
    result: Result<Report, CloseError>,
    report: &mut Option<Out<'_, lb_report>>,
) -> Result<(), c_int> {
    match result {
        Ok(told) => {
            write(report, &told);
            Ok(())
        }
        Err(error) => {
            if let Some(told) = error.report() {
                write(report, told);
            }
            let errno = error.errno().map_or(libc::EIO, |errno| errno.raw());
            if let Ok(socket) = error.into_socket() {
                let _ = socket.into_raw_fd();
            }
            Err(errno)
        }
    }
}

fn write(report: &mut Option<Out<'_, lb_report>>, told: &Report) {
    if let Some(report) = report {
        report.write(&lb_report::from(told));
    }
}
