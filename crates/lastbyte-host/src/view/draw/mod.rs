//! Puts the model on the screen.

mod ending;
mod head;
mod help;
mod panes;
mod table;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lastbyte::{Fate, Total};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph};

use super::{Model, Pane};
use crate::ending::Ending;
use crate::process::Process;
use panes::Rows;

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// In colours.
    Colours,
    /// Without colours (`NO_COLOR`): weight and reverse only.
    Plain,
}

impl Theme {
    fn of(self, fate: Option<Fate>) -> Style {
        let colour = match fate {
            Some(Fate::Delivered | Fate::Confirmed) => Color::Green,
            Some(Fate::Reset | Fate::Failed | Fate::TimedOut | Fate::Stalled) => Color::Red,
            Some(Fate::Aborted) => Color::Yellow,
            _ => Color::Reset,
        };
        match self {
            Self::Colours => Style::new().fg(colour),
            Self::Plain => Style::new(),
        }
    }
}

/// Draws the model on the whole frame.
pub fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let [top, middle, detail, foot] = Layout::vertical([
        Constraint::Length(head::HEIGHT),
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    head::draw(frame, top, model, theme);
    draw_panes(frame, middle, model, theme);
    let text = detail_of(model);
    let room = usize::from(detail.width);
    frame.render_widget(Paragraph::new(table::shorten(&text, room)), detail);
    draw_foot(frame, foot, model);
    if model.help {
        help::draw(frame, model);
    } else if let Some(ending) = &model.opened {
        ending::draw(frame, ending);
    }
}

fn draw_panes(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let room = usize::from(area.width);
    let panes = [
        (Pane::Latest, panes::latest(model, room, theme)),
        (Pane::Offenders, panes::offenders(model, room)),
        (Pane::Stuck, panes::stuck(model, room)),
    ];
    if model.zoomed {
        for (pane, rows) in panes.into_iter().filter(|(pane, _)| *pane == model.pane) {
            list(frame, area, model, pane, rows);
        }
        return;
    }
    let wanted = [0, 1, 2].map(|at: usize| panes[at].1.rows.len().saturating_add(2));
    let heights = share(wanted, area.height.into());
    let areas = Layout::vertical(heights.map(Constraint::Length)).areas::<3>(area);
    for ((pane, rows), area) in panes.into_iter().zip(areas) {
        list(frame, area, model, pane, rows);
    }
}

/// A third for each, and what one does not need for those that do, the first first.
fn share(wanted: [usize; 3], room: usize) -> [u16; 3] {
    let third = room / 3;
    let mut given = wanted.map(|wanted| wanted.min(third));
    for at in [0, 2, 1] {
        let left = room - given.iter().sum::<usize>();
        given[at] += left.min(wanted[at] - given[at]);
    }
    // All have what they want: the list of endings is going to grow.
    given[0] += room - given.iter().sum::<usize>();
    given.map(|lines| u16::try_from(lines).unwrap_or(u16::MAX))
}

/// A titled list that scrolls to the selected row.
fn list(frame: &mut Frame<'_>, area: Rect, model: &Model, pane: Pane, rows: Rows) {
    let active = model.pane == pane;
    let style = match active {
        true => Style::new().add_modifier(Modifier::BOLD),
        false => Style::new(),
    };
    let mark = if active { "> " } else { "" };
    let filter = match model.filter().to_string() {
        none if none.is_empty() => String::new(),
        some => format!(" [{some}]"),
    };
    let block = Block::new()
        .borders(Borders::TOP)
        .title(format!("{mark}{}{filter}", rows.title))
        .border_style(style);
    let height = usize::from(block.inner(area).height).saturating_sub(1);
    let selected = model.row(pane);
    let first = (selected + 1).saturating_sub(height);
    let underlined = Style::new().add_modifier(Modifier::DIM);
    let mut lines = vec![Line::styled(rows.titles, underlined)];
    let shown = rows.rows.into_iter().enumerate().skip(first).take(height);
    lines.extend(
        shown.map(|(at, (text, style))| match active && at == selected {
            true => Line::styled(text, style.add_modifier(Modifier::REVERSED)),
            false => Line::styled(text, style),
        }),
    );
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// All of the selected row that matters, whatever the columns had room for.
fn detail_of(model: &Model) -> String {
    match model.pane {
        Pane::Latest => {
            let endings = model.endings();
            endings.get(model.row(Pane::Latest)).map(|e| in_a_line(e))
        }
        Pane::Offenders => {
            let all = model.offenders();
            all.get(model.row(Pane::Offenders))
                .map(|(who, _)| who.to_string())
        }
        Pane::Stuck => model.stuck_at(model.row(Pane::Stuck)).map(|row| match row {
            Ok(waiting) => panes::time_wait(waiting),
            Err(row) => {
                let fd = row
                    .owner
                    .map_or(String::new(), |(_, fd)| format!(" fd {fd}"));
                format!(
                    "{}{fd}: {} to {}, {} queued",
                    panes::holder(row),
                    row.tuple.local,
                    row.tuple.remote,
                    row.queued
                )
            }
        }),
    }
    .unwrap_or_default()
}

fn in_a_line(ending: &Ending) -> String {
    let number = |n: Option<u64>| n.map_or("?".to_owned(), |n| n.to_string());
    let why = match ending.rst {
        Some(rst) => rst.words().map(|words| format!(", {words}")),
        None => None,
    };
    format!(
        "{} {} to {}: lost {}, unread {}{}",
        clock(ending.time),
        ending.tuple.local,
        ending.tuple.remote,
        number(ending.bytes.lost),
        number(ending.bytes.unread),
        why.unwrap_or_default()
    )
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let text = match (&model.typing, &model.complaint) {
        (Some(text), _) => format!("filter (port:80 pid:812 comm:name fate:reset): {text}_"),
        (None, Some(complaint)) => complaint.clone(),
        _ => {
            "q quit ? help Tab pane Enter open s sort r reverse / filter z zoom p pause".to_owned()
        }
    };
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Paragraph::new(text).style(reversed), area);
}

fn process(process: Option<Process>) -> String {
    match process {
        Some(Process { pid, comm }) if comm.is_empty() => pid.to_string(),
        Some(Process { pid, comm }) => format!("{comm}[{pid}]"),
        None => "?".to_owned(),
    }
}

/// `14:02:07`, of the day in UTC.
fn clock(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
        % 86400;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn age(age: Duration) -> String {
    match age.as_secs() {
        s @ 0..1000 => format!("{s}s"),
        s => format!("{}m", s / 60),
    }
}

/// A sum; what is added to it without being known makes it a lower bound.
fn sum(bytes: Total) -> String {
    match (bytes.known, bytes.unknown) {
        (known, 0) => size(known),
        (0, _) => "?".to_owned(),
        (known, _) => format!("≥{}", size(known)),
    }
}

/// `17`, `2.8M`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes}"),
        _ => format!("{value:.1}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn an_empty_model_fits_any_screen() {
        let model = Model::new(vec!["no tracepoints".to_owned()]);
        for (width, height) in [(80, 24), (200, 60), (10, 5), (1, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("in memory");
            terminal
                .draw(|frame| draw(frame, &model, Theme::Plain))
                .expect("a test backend cannot fail");
        }
    }

    #[test]
    fn a_pane_takes_what_others_do_not_need() {
        assert_eq!(share([100, 3, 4], 18), [11, 3, 4]);
        assert_eq!(share([100, 100, 100], 18), [6, 6, 6]);
        assert_eq!(share([2, 2, 8], 18), [8, 2, 8]);
        assert_eq!(share([2, 2, 100], 18), [2, 2, 14]);
        assert_eq!(share([2, 2, 2], 1), [1, 0, 0]);
    }

    #[test]
    fn a_sum_says_what_it_does_not_know() {
        let of = |numbers: &[Option<u64>]| sum(numbers.iter().copied().collect());
        assert_eq!(of(&[]), "0");
        assert_eq!(of(&[Some(1500), Some(200)]), "1.7k");
        assert_eq!(of(&[Some(1500), None]), "≥1.5k");
        assert_eq!(of(&[None, Some(0)]), "?");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!((size(17), size(2_803_472)), ("17".into(), "2.8M".into()));
        assert_eq!(
            (age(Duration::from_secs(41)), clock(UNIX_EPOCH)),
            ("41s".into(), "00:00:00".into())
        );
    }
}
