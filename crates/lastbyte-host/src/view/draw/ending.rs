//! One ending in full.

use lastbyte::{Fate, Side};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::process;
use crate::ending::{Ending, Rst, StateTimes};

/// Draws it over the middle of the screen.
pub(super) fn draw(frame: &mut Frame<'_>, ending: &Ending) {
    let lines = lines(ending);
    let screen = frame.area();
    let height = (lines.len() as u16 + 2).min(screen.height);
    let area = Rect {
        x: 2.min(screen.width),
        y: screen.height.saturating_sub(height) / 2,
        width: screen.width.saturating_sub(4),
        height,
    };
    let lines: Vec<_> = lines.into_iter().map(Line::from).collect();
    let block = Block::new()
        .borders(Borders::ALL)
        .title("Ending (Esc closes)");
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn lines(ending: &Ending) -> Vec<String> {
    let number = |n: Option<u64>| n.map_or(UNKNOWN.to_owned(), |n| n.to_string());
    let bytes = &ending.bytes;
    let sent = format!(
        "{}, acknowledged {}",
        number(bytes.sent),
        number(bytes.acked)
    );
    let received = format!(
        "{}, unread {}",
        number(bytes.received),
        number(bytes.unread)
    );
    let opened = ending.opened.map_or(UNKNOWN.to_owned(), |time| {
        humantime::format_rfc3339_micros(time).to_string()
    });
    let ended = humantime::format_rfc3339_micros(ending.time).to_string();
    let rows = [
        ("fate", ending.fate.map_or(UNKNOWN, Fate::as_str).to_owned()),
        (
            "error",
            ending
                .error
                .map_or(String::new(), |error| error.to_string()),
        ),
        (
            "closed first",
            ending.closed_first.map_or(UNKNOWN, Side::as_str).to_owned(),
        ),
        ("owner", process(ending.owner)),
        ("closed by", process(ending.closer)),
        ("opened", opened),
        ("ended", ended),
        ("RST by", rst(ending.rst)),
        ("sent", sent),
        ("lost", number(bytes.lost)),
        ("received", received),
        ("time in", states(ending.states)),
        ("evidence", ending.evidence.as_str().to_owned()),
    ];
    // Without an error there is no line for it.
    let rows = rows
        .into_iter()
        .filter(|(name, value)| *name != "error" || !value.is_empty());
    let ends = format!("{} to {}", ending.tuple.local, ending.tuple.remote);
    let rows = rows.map(|(name, value)| format!("{name:13} {value}"));
    std::iter::once(ends).chain(rows).collect()
}

const UNKNOWN: &str = "unknown";

fn rst(rst: Option<Rst>) -> String {
    let Some(rst) = rst else {
        return UNKNOWN.to_owned();
    };
    match rst.words() {
        Some(words) => format!("{}: {words}", rst.by()),
        None => rst.by().to_owned(),
    }
}

fn states(states: Option<StateTimes>) -> String {
    let Some(states) = states else {
        return UNKNOWN.to_owned();
    };
    let times = states.iter().map(|(name, time)| format!("{name} {time:?}"));
    times.collect::<Vec<_>>().join(", ")
}
