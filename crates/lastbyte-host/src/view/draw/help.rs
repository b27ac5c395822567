//! The help, and what is not known here.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Wrap};

use super::Model;

const KEYS: &[&str] = &[
    "Tab, 1 2 3      next pane, or that one",
    "up down PgUp PgDn Home End   move; the line above the keys has all of a row",
    "Enter           open an ending; Esc closes it",
    "s, r            sort by the next column; the other way round",
    "/               filter, for every pane: port:80 pid:812 comm:nginx fate:reset;",
    "                empty for all (a fate is of endings: sockets have none yet)",
    "z               one pane alone, and back",
    "p               pause the list of endings",
    "?, q            this help; quit",
    "",
    "delivered: all acknowledged   confirmed: and the peer closed as well",
    "reset: by the peer   aborted: by us   failed: the kernel gave it up",
    "Processes: what their endings lost and reset. lastbyte explain WORD says more.",
];

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let mut lines: Vec<_> = KEYS.iter().map(|line| Line::from(*line)).collect();
    if !model.notes.is_empty() {
        lines.push(Line::from(""));
    }
    lines.extend(model.notes.iter().map(|note| Line::from(note.as_str())));
    let screen = frame.area();
    let area = Rect {
        height: screen.height.saturating_sub(1),
        ..screen
    };
    let block = Block::new()
        .borders(Borders::ALL)
        .title("Help (any key closes)");
    let help = Paragraph::new(lines)
        .block(block)
        .wrap(Wrap { trim: false });
    frame.render_widget(Clear, area);
    frame.render_widget(help, area);
}
