//! A close that returns at once and goes on in the background.
//!
//! Every form of close uses it where the policy does not wait.

use crate::closer::background;
use crate::driver::Prepared;
use crate::error::CloseError;
use crate::report::Report;

/// Starts the close and returns at once. What is not done by then goes to the background
/// closer.
pub(crate) fn detach(prepared: Prepared) -> Result<Report, CloseError> {
    if !prepared.may_wait() {
        let (_, progress) = prepared.start();
        let report = progress.report;
        return report
            .expect("an ending that does not wait reports")
            .into_result();
    }
    let background = match background::get() {
        Ok(background) => background,
        Err(error) => return Err(CloseError::resources(error, prepared.into_socket())),
    };
    let (driver, progress) = prepared.start();
    match progress.report {
        Some(report) => {
            // Delivered already; the peer may still be sending.
            if !progress.over {
                background.adopt(driver);
            }
            report.into_result()
        }
        None => {
            let report = driver.detached();
            background.adopt(driver);
            Ok(report)
        }
    }
}
