//! What standard output is.

use std::io::{IsTerminal, stdout};

/// Columns to write into.
pub(crate) fn width() -> u16 {
    let columns = console::Term::stdout().size_checked().map(|(_, w)| w);
    // Wide enough for a table in a file, narrow enough to read.
    columns.unwrap_or(140).clamp(60, 200)
}

/// Returns whether colours are welcome: on a terminal, unless NO_COLOR says otherwise
/// (no-color.org: set and not empty).
pub(crate) fn colours() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
