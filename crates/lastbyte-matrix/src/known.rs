//! The cells that are known to be wrong, until they are mended.
//!
//! `known_wrong.txt` has a cell's name and the reason on each line. A listed cell
//! that is right fails the test, so that the list cannot outlive its faults; but for
//! those marked with `~`, which are right sometimes.

use std::collections::HashMap;

/// A listed cell.
#[derive(Clone, Debug)]
pub struct Known {
    /// Why it is wrong.
    pub reason: String,
    /// It is right sometimes.
    pub sometimes: bool,
}

/// The list, by the cells' names.
///
/// # Panics
/// Where a line is no cell and no remark.
#[must_use]
pub fn known() -> HashMap<String, Known> {
    let lines = include_str!("../known_wrong.txt").lines().map(str::trim);
    let cells = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    cells.map(entry).collect()
}

fn entry(line: &str) -> (String, Known) {
    let (sometimes, line) = line
        .strip_prefix('~')
        .map_or((false, line), |rest| (true, rest));
    let (name, reason) = line.split_once(' ').unwrap_or((line, ""));
    let cell: Result<crate::axes::Cell, _> = name.parse();
    assert!(cell.is_ok(), "known_wrong.txt: {name}: {cell:?}");
    (
        name.to_owned(),
        Known {
            reason: reason.trim().to_owned(),
            sometimes,
        },
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_listed_cell_is_played() {
        let cells = crate::cover::cover(2).cells;
        let played = |name: &String| cells.iter().any(|cell| cell.to_string() == *name);
        let stale: Vec<_> = super::known()
            .into_keys()
            .filter(|name| !played(name))
            .collect();
        assert!(stale.is_empty(), "no longer among the pairs: {stale:?}");
    }

    #[test]
    fn every_line_is_a_cell_with_its_reason() {
        for (name, known) in super::known() {
            assert!(!known.reason.is_empty(), "{name} has no reason");
        }
    }
}
