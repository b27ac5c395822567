//! The findings as a Markdown table, for a README.

use std::fmt::Write;

use super::table::{summary, words};
use crate::lab::Findings;

/// One line a row: id, what the manual says, what each did.
#[must_use]
pub fn markdown(findings: &Findings) -> String {
    let mut text =
        String::from("| | the manual | plain `close(2)` | lastbyte |\n|---|---|---|---|\n");
    for finding in &findings.rows {
        let _ = write!(
            text,
            "| {} | {} |",
            finding.row.id,
            escape(finding.row.manual)
        );
        for outcome in &finding.outcomes {
            let _ = write!(text, " {} |", escape(&words(outcome)));
        }
        text.push('\n');
    }
    let _ = write!(text, "\n{}", summary(findings).replace('\n', "; "));
    text
}

pub(super) fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}
