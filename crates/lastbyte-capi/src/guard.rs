//! Where Rust ends: errors, panics, sockets that go back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lastbyte::{CloseError, Report};
use libc::c_int;

use crate::platform::{self, code};
use crate::types::{Out, lb_report};

/// Runs `body`; an error or a panic becomes −1 and errno.
pub(crate) fn call(body: impl FnOnce() -> Result<(), c_int>) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => fail(error),
        Err(_) => fail(code::ENOTRECOVERABLE),
    }
}

fn fail(error: c_int) -> c_int {
    platform::leave_error(error);
    -1
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
            let errno = error.errno().map_or(code::EIO, |errno| errno.raw());
            if let Ok(socket) = error.into_socket() {
                platform::give_back(socket);
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
