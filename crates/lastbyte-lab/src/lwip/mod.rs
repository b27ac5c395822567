//! The contract's rows against lwIP, a second TCP stack that runs in this process: its
//! lwip_close(), as plain as a program calls it, and both ends of each connection.
//!
//! Feature `lwip`; it needs Debian's `liblwip-dev`. The rows are the lab's, as far as a
//! stack without processes, signals and kernel tables has them; the others say why not.

mod rows;
mod stack;

use crate::findings::Findings;
use crate::lab::Outcome;
use crate::rows::{ROWS, Row};

/// A row that lwIP was asked for, and what it did.
#[derive(Clone, Debug)]
pub struct RowResult {
    /// The row.
    pub row: &'static Row,
    /// What lwip_close() did.
    pub outcome: Outcome,
}

/// Returns lwIP's version, as its headers have it.
#[must_use]
pub fn version() -> String {
    stack::version()
}

/// Runs every row, one after the other, and calls `each` before it does.
///
/// Blocks for some 30 s. The stack it starts stays as long as the process.
///
/// # Errors
/// The stack does not start.
pub fn run(each: &dyn Fn(&Row)) -> Result<Vec<RowResult>, lastbyte::Errno> {
    stack::start()?;
    Ok(ROWS
        .iter()
        .map(|row| {
            each(row);
            let outcome = match rows::run(row.id) {
                Err(why) => Outcome::NotRun(why.to_owned()),
                Ok(run) => {
                    let mut findings = Findings::default();
                    match run(&mut findings) {
                        Ok(()) => Outcome::Ran(findings),
                        Err(error) => Outcome::Broken(format!("the stack failed: {error}")),
                    }
                }
            };
            RowResult { row, outcome }
        })
        .collect())
}
