//! The results as a table for a terminal.

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use crate::harness::Place;
use crate::lab::{Outcome, Results};

/// The table: per row the manual's words, what close(2) did, what lastbyte did.
#[must_use]
pub fn table(results: &Results, width: u16, colour: bool) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(["", "the manual", "close(2)", "lastbyte"]);
    if !colour {
        table.force_no_tty();
    } else {
        table.enforce_styling();
    }
    for result in &results.rows {
        let mut cells = vec![
            Cell::new(result.row.id).set_alignment(CellAlignment::Left),
            Cell::new(result.row.manual),
        ];
        cells.extend(result.outcomes.iter().map(|o| outcome_cell(o, colour)));
        table.add_row(cells);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table.to_string()
}

fn outcome_cell(outcome: &Outcome, colour: bool) -> Cell {
    let cell = Cell::new(words(outcome));
    if !colour {
        return cell;
    }
    match outcome {
        Outcome::NotRun(_) => cell.add_attribute(Attribute::Dim),
        o if o.kept() => cell.fg(Color::Green),
        _ => cell.fg(Color::Red),
    }
}

/// A mark and what was seen.
pub(super) fn words(outcome: &Outcome) -> String {
    match outcome.not_run() {
        Some(why) => format!("– not run: {why}"),
        None => format!("{} {}", mark(outcome), outcome.saw()),
    }
}

fn mark(outcome: &Outcome) -> &'static str {
    match outcome {
        o if o.kept() => "✓",
        _ => "✗",
    }
}

/// The lines under the table: who kept how many rows, where, and how long it took.
#[must_use]
pub fn summary(results: &Results) -> String {
    let rows = results.rows.len();
    let count = |index: usize| {
        let of = |keep: fn(&Outcome) -> bool| {
            results
                .rows
                .iter()
                .filter(|f| f.outcomes.get(index).is_some_and(keep))
                .count()
        };
        let not_run = of(|o| o.not_run().is_some());
        let kept = of(Outcome::kept);
        if not_run == 0 {
            format!("{kept} of {rows}")
        } else {
            format!("{kept} of {rows} ({not_run} not run)")
        }
    };
    let place = match &results.place {
        Place::Namespace => "in a private namespace".to_owned(),
        Place::Loopback { why } => format!("on this host's loopback ({why})"),
    };
    let mut text = format!(
        "rows kept: close(2) {}, lastbyte {}\nLinux {}, {place}, {:.1} s",
        count(0),
        count(1),
        results.kernel,
        results.took.as_secs_f64()
    );
    if results.dropped > 0 {
        text.push_str(&format!(
            "\nthe capture lost {} packets: what rests on them may be wrong",
            results.dropped
        ));
    }
    text
}
