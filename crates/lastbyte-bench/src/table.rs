//! The table for people.

use comfy_table::{CellAlignment, Table, presets};

use crate::flat::Flat;
use crate::row::Row;

pub(crate) fn rows(rows: &[Row]) -> String {
    let mut table = table(&[
        "scenario",
        "subject",
        "closes",
        "CPU µs",
        "(spread)",
        "÷ plain",
        "process µs",
        "÷ plain",
        "closes/s",
        "p50 µs",
        "p99 µs",
        "B/ending",
        "threads",
        "req/s",
        "noise",
    ]);
    for row in rows {
        let [least, most] = row.cpu_us_spread;
        table.add_row([
            row.scenario.to_owned(),
            row.subject.to_owned(),
            row.connections.to_string(),
            format!("{:.2}", row.cpu_us),
            format!("{least:.1}–{most:.1}"),
            figure(row.cpu_vs_plain, 2),
            format!("{:.2}", row.process_cpu_us),
            figure(row.process_cpu_vs_plain, 2),
            figure(row.closes_per_s, 0),
            figure(row.ack_to_report_p50_us, 0),
            figure(row.ack_to_report_p99_us, 0),
            figure(row.bytes_per_ending, 0),
            row.threads.to_string(),
            figure(row.requests_per_s, 0),
            format!("{:.1} %", row.noise * 100.0),
        ]);
    }
    finish(table, 2)
}

pub(crate) fn flat(flat: &[Flat]) -> String {
    let mut table = table(&[
        "subject",
        "in flight",
        "CPU µs",
        "ratio",
        "process µs",
        "ratio",
    ]);
    for Flat {
        subject,
        in_flight,
        cpu_us,
        cpu_ratio,
        process_cpu_us,
        process_cpu_ratio,
    } in flat
    {
        table.add_row([
            (*subject).to_owned(),
            format!("{} → {}", in_flight[0], in_flight[1]),
            format!("{:.2} → {:.2}", cpu_us[0], cpu_us[1]),
            format!("{cpu_ratio:.2}"),
            format!("{:.2} → {:.2}", process_cpu_us[0], process_cpu_us[1]),
            format!("{process_cpu_ratio:.2}"),
        ]);
    }
    finish(table, 1)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// Numbers to the right, but for the first columns.
fn finish(mut table: Table, names: usize) -> String {
    for column in table.column_iter_mut().skip(names) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}
