//! The panes' rows.

use lastbyte::Fate;
use ratatui::style::Style;

use super::table::{Column, fit};
use super::{Pane, Theme, age, clock, process, size, sum};
use crate::ending::{Ending, Rst};
use crate::time_wait::Direction;
use crate::view::{Model, Order, StuckOrder, StuckRow, Waiting};

/// From this width on there is room for more columns.
const WIDE: usize = 110;

/// A pane's text.
pub(super) struct Rows {
    pub(super) title: String,
    pub(super) titles: String,
    pub(super) rows: Vec<(String, Style)>,
}

pub(super) fn latest(model: &Model, room: usize, theme: Theme) -> Rows {
    let endings = model.endings();
    let by = match (model.by_lost, model.reversed(Pane::Latest)) {
        (false, false) => "newest first",
        (false, true) => "oldest first",
        (true, false) => "most bytes lost first",
        (true, true) => "fewest bytes lost first",
    };
    let cells = |of: &dyn Fn(&Ending) -> String| endings.iter().map(|e| of(e)).collect();
    let some = |n: Option<u64>| n.filter(|n| *n > 0).map_or(String::new(), size);
    let mut columns = vec![
        Column::new("TIME", 6, cells(&|e| clock(e.time))),
        Column::new("FATE", 0, cells(&|e| fate(e).to_owned())),
        Column::new("LOST", 1, cells(&|e| some(e.bytes.lost))).right(),
        Column::new("UNREAD", 4, cells(&|e| some(e.bytes.unread))).right(),
        Column::new("PROCESS", 0, cells(&|e| process(e.owner.or(e.closer)))).least(12),
        Column::new("LOCAL", 0, cells(&|e| e.tuple.local.to_string())).least(15),
        Column::new("REMOTE", 0, cells(&|e| e.tuple.remote.to_string())).least(15),
    ];
    if room >= WIDE {
        let known = |n: Option<u64>| n.map_or("?".to_owned(), size);
        let first = |e: &Ending| {
            e.closed_first
                .map_or("?", lastbyte::Side::as_str)
                .to_owned()
        };
        columns.extend([
            Column::new("FIRST", 5, cells(&first)),
            Column::new("SENT", 8, cells(&|e| known(e.bytes.sent))).right(),
            Column::new("RECEIVED", 8, cells(&|e| known(e.bytes.received))).right(),
            Column::new("EVIDENCE", 9, cells(&|e| e.evidence.as_str().to_owned())),
        ]);
    }
    let why = |e: &Ending| e.rst.and_then(Rst::words).unwrap_or_default().to_owned();
    columns.push(Column::new("WHY", 3, cells(&why)).least(12));
    let (titles, rows) = fit(columns, room);
    let styles = endings.iter().map(|ending| theme.of(ending.fate));
    Rows {
        title: format!("Endings, {by}"),
        titles,
        rows: rows.into_iter().zip(styles).collect(),
    }
}

fn fate(ending: &Ending) -> &'static str {
    ending.fate.map_or("unknown", Fate::as_str)
}

pub(super) fn offenders(model: &Model, room: usize) -> Rows {
    let by = match model.order {
        Order::Lost => "bytes lost",
        Order::ResetsSent => "resets sent",
        Order::ResetsGot => "resets got",
        Order::Endings => "endings",
    };
    let least = match model.reversed(Pane::Offenders) {
        true => ", least first",
        false => "",
    };
    let all = model.offenders();
    let count = |of: &dyn Fn(&crate::view::Tally) -> String| {
        all.iter().map(|(_, tally)| of(tally)).collect()
    };
    let columns = vec![
        Column::new(
            "PROCESS",
            0,
            all.iter().map(|(who, _)| process(Some(*who))).collect(),
        ),
        Column::new("BYTES LOST", 0, count(&|t| sum(t.lost))).right(),
        Column::new("RESETS SENT", 0, count(&|t| t.resets_sent.to_string())).right(),
        Column::new("RESETS GOT", 0, count(&|t| t.resets_got.to_string())).right(),
        Column::new("ENDINGS", 0, count(&|t| t.endings.to_string())).right(),
    ];
    let (titles, rows) = fit(columns, room);
    Rows {
        title: format!("Processes, by {by}{least}{}", since(model)),
        titles,
        rows: rows.into_iter().map(|row| (row, Style::new())).collect(),
    }
}

/// Sums begin anew with a filter.
fn since(model: &Model) -> String {
    match model.filter.is_empty() {
        true => String::new(),
        false => format!(", since {}", clock(model.filter_since)),
    }
}

pub(super) fn stuck(model: &Model, room: usize) -> Rows {
    let by = match (model.stuck_order, model.reversed(Pane::Stuck)) {
        (StuckOrder::Age, false) => "oldest first",
        (StuckOrder::Age, true) => "youngest first",
        (StuckOrder::Queued, false) => "most queued first",
        (StuckOrder::Queued, true) => "least queued first",
        (StuckOrder::Owner, false) => "by process",
        (StuckOrder::Owner, true) => "by process, backwards",
    };
    let rows = model.stuck_rows();
    let cells = |of: &dyn Fn(&StuckRow) -> String| rows.iter().map(|row| of(row)).collect();
    let queued = |row: &StuckRow| match row.queued {
        0 => String::new(),
        queued => size(queued.into()),
    };
    let fd = |row: &StuckRow| row.owner.map_or(String::new(), |(_, fd)| fd.to_string());
    let columns = vec![
        Column::new("STATE", 0, cells(&|row| row.state.to_string())),
        Column::new("AGE", 0, cells(&|row| age(row.age))).right(),
        Column::new("PROCESS", 0, cells(&holder)).least(12),
        Column::new("FD", 1, cells(&fd)).right(),
        Column::new("QUEUED", 1, cells(&queued)).right(),
        Column::new("LOCAL", 0, cells(&|row| row.tuple.local.to_string())).least(15),
        Column::new("REMOTE", 0, cells(&|row| row.tuple.remote.to_string())).least(15),
    ];
    let (titles, sockets) = fit(columns, room);
    let waiting: Vec<_> = model.waiting.iter().map(time_wait).collect();
    // The largest piles first, then each socket.
    let (first, rest) = waiting.split_at(waiting.len().min(crate::view::PILES));
    let rows = first
        .iter()
        .cloned()
        .chain(sockets)
        .chain(rest.iter().cloned());
    let title = match model.looked {
        true => format!(
            "Stuck now: {}, {by}; TIME_WAIT {}",
            model.stuck_in_all, model.waiting_in_all
        ),
        false => "Stuck now: ?; TIME_WAIT ?".to_owned(),
    };
    Rows {
        title,
        titles,
        rows: rows.map(|row| (row, Style::new())).collect(),
    }
}

pub(super) fn holder(row: &StuckRow) -> String {
    match row.owner {
        Some((who, _)) => process(Some(who)),
        None if row.held => "?".to_owned(),
        None => "orphan".to_owned(),
    }
}

pub(super) fn time_wait(waiting: &Waiting) -> String {
    let number = waiting.number;
    let closer = process(waiting.closer);
    match waiting.direction {
        Direction::Out { to, .. } => {
            let left = waiting.left.map_or("?".to_owned(), |left| left.to_string());
            format!("TIME_WAIT {number} to {to}, {left} ports left, {closer} closed first")
        }
        Direction::In { on } => format!("TIME_WAIT {number} on {on}, {closer} closed first"),
    }
}
