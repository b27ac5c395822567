//! The results as a Markdown table, for a README.

use std::fmt::Write;

use super::table::{summary, words};
use crate::lab::Results;

/// One line a row: id, what the manual says, what each did.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut text =
        String::from("| | the manual | plain `close(2)` | lastbyte |\n|---|---|---|---|\n");
    for result in &results.rows {
        let _ = write!(
            text,
            "| {} | {} |",
            result.row.id,
            escape(result.row.manual)
        );
        for outcome in &result.outcomes {
            let _ = write!(text, " {} |", escape(&words(outcome)));
        }
        text.push('\n');
    }
    let _ = write!(text, "\n{}", summary(results).replace('\n', "; "));
    text
}

pub(super) fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}
