//! The document of the contract: every row, those that other tests show included.

use std::fmt::Write;

use super::markdown::escape;
use super::table::{summary, words};
use crate::contract::{CONTRACT, Clause, SECTIONS};
use crate::lab::{Outcome, Results};

const HEAD: &str = "\
# The contract

What four decades of manuals say that closing a TCP socket does, what plain close(2) did on one machine, and
what lastbyte did there. ✓ kept, ✗ not kept. `lastbyte lab` runs the rows that have a measurement, on yours too;
the others name the tests that show them. What the fields of the report mean is in [run.md](run.md#the-log).

`lastbyte lab --contract` writes this page.
";

const COLUMNS: &str = "\
| | situation | the manual | plain `close(2)` | lastbyte |
|---|---|---|---|---|
";

/// `docs/contract.md`. The results are of close(2) and lastbyte, in that order; a row that
/// is not among them has no measurement.
#[must_use]
pub fn document(results: &Results) -> String {
    let mut text = HEAD.to_owned();
    for (letter, title) in SECTIONS {
        let _ = write!(text, "\n## {letter}. {title}\n\n{COLUMNS}");
        for clause in CONTRACT.iter().filter(|one| one.id.starts_with(*letter)) {
            line(&mut text, clause, results);
        }
    }
    let _ = write!(
        text,
        "\n## The run\n\n{}\n",
        summary(results).replace('\n', "; ")
    );
    text
}

fn line(text: &mut String, clause: &Clause, results: &Results) {
    let found = results
        .rows
        .iter()
        .find(|result| result.row.id == clause.id);
    let manual = found.map_or("–", |result| result.row.manual);
    let _ = write!(
        text,
        "| {} | {} | {} |",
        clause.id,
        clause.situation,
        escape(manual)
    );
    let cell = |outcome: Option<&Outcome>| outcome.map_or("–".to_owned(), |o| escape(&words(o)));
    let outcome = |index| found.and_then(|result| result.outcomes.get(index));
    let ours = match &clause.elsewhere {
        None => cell(outcome(1)),
        Some(elsewhere) => {
            let test = elsewhere.test;
            format!("{} ([tests](../{test}))", elsewhere.kept)
        }
    };
    let _ = writeln!(text, " {} | {ours} |", cell(outcome(0)));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::*;
    use crate::harness::Place;
    use crate::lab::RowResult;
    use crate::rows::ROWS;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// The id and what does not depend on a machine, of each row of a document.
    fn rows(document: &str) -> Vec<(String, Vec<String>)> {
        let lines = document.lines().filter(|line| line.starts_with("| "));
        let cells = lines.map(|line| line.split(" | ").map(str::to_owned).collect::<Vec<_>>());
        cells
            .filter(|cells| !cells[0].starts_with("| |"))
            .map(|cells| {
                let measured = cells[3] != "–";
                let fixed = if measured { 3 } else { cells.len() };
                (cells[0].clone(), cells[1..fixed].to_vec())
            })
            .collect()
    }

    #[test]
    fn every_row_that_runs_is_in_the_contract_and_every_other_names_its_tests() {
        let runs: Vec<_> = ROWS.iter().map(|row| row.id).collect();
        let listed: Vec<_> = CONTRACT
            .iter()
            .filter(|clause| clause.elsewhere.is_none())
            .map(|clause| clause.id)
            .collect();
        assert_eq!(runs, listed);
        for elsewhere in CONTRACT.iter().filter_map(|clause| clause.elsewhere) {
            assert!(root().join(elsewhere.test).exists(), "{}", elsewhere.test);
        }
        for clause in CONTRACT {
            let sections = SECTIONS
                .iter()
                .filter(|(letter, _)| clause.id.starts_with(*letter));
            assert_eq!(sections.count(), 1, "{}", clause.id);
        }
    }

    /// Fails when `docs/contract.md` is stale: `lastbyte lab --contract > docs/contract.md`.
    #[test]
    fn the_page_of_the_repository_is_what_the_command_writes() {
        let page = fs::read_to_string(root().join("docs/contract.md")).expect("the page");
        let none = || Outcome::NotRun("in this test".to_owned());
        let results = Results {
            kernel: String::new(),
            place: Place::Namespace,
            rows: ROWS
                .iter()
                .map(|row| RowResult {
                    row,
                    outcomes: vec![none(), none()],
                })
                .collect(),
            dropped: 0,
            took: Duration::ZERO,
        };
        let fresh = document(&results);
        assert_eq!(rows(&page), rows(&fresh));
        let prose = |text: &str| -> Vec<String> {
            let text = text.split("\n## The run").next().unwrap_or_default();
            let lines = text.lines().filter(|line| !line.starts_with("| "));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(prose(&page), prose(&fresh));
        let kept = page.lines().filter(|line| {
            let ours = line.rsplit(" | ").next();
            ours.is_some_and(|cell| cell.starts_with('✓'))
        });
        assert_eq!(
            kept.count(),
            ROWS.len(),
            "a page with a row that was not kept"
        );
    }

    /// The library's documentation has the same rows.
    #[test]
    fn the_librarys_manual_has_the_same_rows() {
        let manual = root().join("crates/lastbyte/src/manual/contract.rs");
        let manual = fs::read_to_string(manual).expect("the manual");
        let rows: Vec<_> = manual
            .lines()
            .filter_map(|line| line.strip_prefix("//! | ")?.split_once(" | "))
            .filter(|(id, _)| id.len() == 2 && id.ends_with(|c: char| c.is_ascii_digit()))
            .map(|(id, rest)| (id, rest.split(" | ").next().unwrap_or_default()))
            .collect();
        let ours: Vec<_> = CONTRACT
            .iter()
            .filter(|clause| !clause.id.starts_with(['H', 'U']))
            .map(|clause| (clause.id, clause.situation))
            .collect();
        assert_eq!(rows, ours);
    }
}
