//! What the measurements must show.

use serde::Serialize;

use crate::flat::Flat;
use crate::row::Row;

/// A mark and how it came out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Mark {
    pub(crate) what: &'static str,
    pub(crate) bound: Bound,
    /// The best of the closer's backends; null where it was not measured.
    pub(crate) measured: Option<f64>,
    pub(crate) met: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

const CLOSERS: [&str; 2] = ["closer_epoll", "closer_uring"];

pub(crate) fn judge(rows: &[Row], flat: &[Flat]) -> Vec<Mark> {
    let all = |scenario: &'static str, subjects: &'static [&str], of: fn(&Row) -> Option<f64>| {
        rows.iter()
            .filter(move |row| row.scenario == scenario && subjects.contains(&row.subject))
            .filter_map(of)
    };
    let least = |values: &mut dyn Iterator<Item = f64>| values.min_by(f64::total_cmp);
    let closers = |scenario, of| least(&mut all(scenario, &CLOSERS, of));
    let over = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
    let closes_per_s =
        |subjects| all("delayed_ack", subjects, |row| row.closes_per_s).max_by(f64::total_cmp);
    let by_hand = |of| least(&mut all("peer_closes", &["tokio_by_hand"], of));
    let mark = |what, bound, measured: Option<f64>| Mark {
        what,
        bound,
        measured,
        met: measured.is_some_and(|value| bound.holds(value)),
    };
    vec![
        mark(
            "CPU per close with a deadline ÷ plain close, whole machine, delayed ACK",
            Bound::AtMost(1.5),
            closers("delayed_ack", |row| row.cpu_vs_plain),
        ),
        mark(
            "CPU per close by receipt ÷ plain close, whole machine, delayed ACK",
            Bound::AtMost(1.25),
            least(&mut all("delayed_ack", &["closer_off_receipt"], |row| {
                row.cpu_vs_plain
            })),
        ),
        mark(
            "closes per second ÷ those of one thread with SO_LINGER, delayed ACK",
            Bound::AtLeast(1000.0),
            over(closes_per_s(&CLOSERS), closes_per_s(&["kernel_linger_1"])),
        ),
        mark(
            "process CPU of hand-written tokio ÷ the closer's, peers that close",
            Bound::AtLeast(2.0),
            over(
                by_hand(|row| Some(row.process_cpu_us)),
                closers("peer_closes", |row| Some(row.process_cpu_us)),
            ),
        ),
        mark(
            "the same of the whole machine, peer included",
            Bound::AtLeast(2.0),
            over(
                by_hand(|row| Some(row.cpu_us)),
                closers("peer_closes", |row| Some(row.cpu_us)),
            ),
        ),
        mark(
            "µs from ACK to report at 1 000 closes/s, p99",
            Bound::AtMost(300.0),
            closers("peer_closes", |row| row.ack_to_report_p99_us),
        ),
        mark(
            "bytes of heap per ending in flight, slow readers",
            Bound::AtMost(256.0),
            closers("slow_readers", |row| row.bytes_per_ending),
        ),
        mark(
            "CPU per close with all in flight ÷ with 100",
            Bound::AtMost(1.3),
            least(
                &mut flat
                    .iter()
                    .filter(|flat| CLOSERS.contains(&flat.subject))
                    .map(|flat| flat.cpu_ratio),
            ),
        ),
    ]
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        }
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.met { "met   " } else { "missed" };
        let bound = match self.bound {
            Bound::AtMost(most) => format!("≤ {most}"),
            Bound::AtLeast(least) => format!("≥ {least}"),
        };
        match self.measured {
            Some(value) => write!(f, "{sign} {value:>9.2} {bound:<7} {}", self.what),
            None => write!(f, "{sign} {:>9} {bound:<7} {}", "unknown", self.what),
        }
    }
}
