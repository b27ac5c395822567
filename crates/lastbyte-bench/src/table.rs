//! The table for people.

use std::fmt::Write;

use crate::round::Row;

pub(crate) fn render(rows: &[Row]) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<13} {:<19} {:>6} {:>9} {:>7} {:>9} {:>7} {:>10} {:>8} {:>8} {:>8} {:>7}",
        "scenario",
        "subject",
        "n",
        "cpu µs",
        "÷plain",
        "process",
        "÷plain",
        "closes/s",
        "p50 µs",
        "p99 µs",
        "B/ending",
        "threads"
    );
    for row in rows {
        let _ = writeln!(
            out,
            "{:<13} {:<19} {:>6} {:>9.2} {:>7} {:>9.2} {:>7} {:>10} {:>8} {:>8} {:>8} {:>7}",
            row.scenario,
            row.subject,
            row.connections,
            row.cpu_us,
            figure(row.cpu_vs_plain, 2),
            row.process_cpu_us,
            figure(row.process_cpu_vs_plain, 2),
            figure(row.closes_per_s, 0),
            figure(row.ack_to_report_p50_us, 0),
            figure(row.ack_to_report_p99_us, 0),
            figure(row.bytes_per_ending, 0),
            row.threads,
        );
    }
    out
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}
