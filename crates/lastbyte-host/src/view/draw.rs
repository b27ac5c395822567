//! Puts the model on the screen.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lastbyte::Fate;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::{Model, Order, Pane};
use crate::doctor::Direction;
use crate::event::{Ending, Rst};
use crate::process::Process;
use crate::source::backlog::Dropped;
use crate::watcher::Losses;

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Yes.
    Colours,
    /// No: weight and reverse only (`NO_COLOR`).
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

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let [head, latest, offenders, stuck, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Fill(4),
        Constraint::Fill(3),
        Constraint::Fill(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, model, theme);
    draw_latest(frame, latest, model, theme);
    draw_offenders(frame, offenders, model);
    draw_stuck(frame, stuck, model);
    draw_foot(frame, foot, model);
    if let Some(ending) = &model.opened {
        draw_ending(frame, ending);
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let all: f64 = model.rates.iter().sum();
    let mut title = format!("lastbyte watch  {} endings  {all:.0}/s", model.total);
    let Losses {
        endings,
        steps,
        unfollowed,
        unasked,
    } = model.losses;
    if endings.in_all() > 0 {
        title += &format!("  DROPPED {}{}", endings.in_all(), mostly(endings));
    }
    if steps.in_all() > 0 {
        title += &format!("  {} steps missed{}", size(steps.in_all()), mostly(steps));
    }
    if unfollowed + unasked > 0 {
        title += &format!("  {} beyond a limit", size(unfollowed + unasked));
    }
    if model.paused {
        title += "  PAUSED";
    }
    if !model.notes.is_empty() {
        title += "  as root: who closed, reset reasons, states";
    }
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut rates = Vec::new();
    for (at, rate) in model.rates.iter().enumerate() {
        let fate = Fate::ALL.get(at).copied();
        // What only a close with a deadline can give is not shown before it is.
        let usual = matches!(
            fate,
            None | Some(
                Fate::Delivered | Fate::Confirmed | Fate::Reset | Fate::Failed | Fate::Aborted
            )
        );
        if usual || *rate > 0.0 {
            let name = fate.map_or("unknown", Fate::as_str);
            rates.push(Span::styled(
                format!("{name} {rate:.0}/s  "),
                theme.of(fate),
            ));
        }
    }
    let lines = vec![Line::styled(title, bold), Line::from(rates)];
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_latest(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let endings = model.endings();
    let by = if model.by_lost {
        "by bytes lost"
    } else {
        "newest first"
    };
    let title = format!("Endings, {by}");
    let rows = endings.iter().map(|ending| {
        let fate = ending.fate.map_or("unknown", Fate::as_str);
        let lost = ending.bytes.lost.filter(|n| *n > 0);
        let unread = ending.bytes.unread.filter(|n| *n > 0);
        let mut tail = process(ending.owner.or(ending.closer));
        if let Some(lost) = lost {
            tail += &format!(" lost {}", size(lost));
        }
        if let Some(unread) = unread {
            tail += &format!(" unread {}", size(unread));
        }
        if let Some(words) = ending.rst.and_then(Rst::words) {
            tail += &format!(" {words}");
        }
        let text = format!(
            "{} {fate:9} {:21} {:21} {tail}",
            clock(ending.time),
            ending.tuple.local.to_string(),
            ending.tuple.remote.to_string(),
        );
        (text, theme.of(ending.fate))
    });
    list(frame, area, model, Pane::Latest, &title, rows);
}

fn draw_offenders(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let by = match model.order {
        Order::Lost => "bytes lost",
        Order::ResetsSent => "resets sent",
        Order::ResetsGot => "resets got",
        Order::Endings => "endings",
    };
    let title = format!("Processes, by {by}");
    let rows = model.offenders().into_iter().map(|(who, tally)| {
        let text = format!(
            "{:24} lost {:>8}  resets sent {:>7} got {:>7}  endings {:>9}",
            process(Some(who)),
            size(tally.lost),
            tally.resets_sent,
            tally.resets_got,
            tally.endings
        );
        (text, Style::new())
    });
    list(frame, area, model, Pane::Offenders, &title, rows);
}

fn draw_stuck(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let title = format!(
        "Stuck now: {}; TIME_WAIT {}",
        model.stuck_in_all, model.waiting_in_all
    );
    let waiting = model.waiting.iter().map(|w| {
        let text = match w.direction {
            Direction::Out { to, .. } => format!(
                "TIME_WAIT  {} to {to}, {} ports left, {} closed first",
                w.number,
                w.left.map_or("?".to_owned(), |left| left.to_string()),
                process(w.closer)
            ),
            Direction::In { on } => {
                format!(
                    "TIME_WAIT  {} on {on}, {} closed first",
                    w.number,
                    process(w.closer)
                )
            }
        };
        (text, Style::new())
    });
    let stuck = model.stuck.iter().map(|s| {
        let who = match s.owner {
            Some((who, fd)) => format!("{} fd {fd}", process(Some(who))),
            None if s.held => "?".to_owned(),
            None => "orphan".to_owned(),
        };
        let text = format!(
            "{:10} {:>5} {who:26} {} to {} queued {}",
            s.state,
            age(s.age),
            s.tuple.local,
            s.tuple.remote,
            size(s.queued.into())
        );
        (text, Style::new())
    });
    // The largest piles first, then each socket.
    let rows: Vec<_> = waiting
        .clone()
        .take(2)
        .chain(stuck)
        .chain(waiting.skip(2))
        .collect();
    list(frame, area, model, Pane::Stuck, &title, rows.into_iter());
}

/// A titled list that scrolls to the selected row.
fn list(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    pane: Pane,
    title: &str,
    rows: impl Iterator<Item = (String, Style)>,
) {
    let active = model.pane == pane;
    let style = match active {
        true => Style::new().add_modifier(Modifier::BOLD),
        false => Style::new(),
    };
    let block = Block::new()
        .borders(Borders::TOP)
        .title(title.to_owned())
        .border_style(style);
    let height = usize::from(block.inner(area).height);
    let first = match active {
        true => (model.row + 1).saturating_sub(height),
        false => 0,
    };
    let lines: Vec<_> = rows
        .enumerate()
        .skip(first)
        .take(height)
        .map(|(at, (text, style))| match active && at == model.row {
            true => Line::styled(text, style.add_modifier(Modifier::REVERSED)),
            false => Line::styled(text, style),
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let text = match (&model.typing, &model.complaint) {
        (Some(text), _) => format!("filter (port:80 pid:812 comm:name fate:reset): {text}_"),
        (None, Some(complaint)) => complaint.clone(),
        _ => "q quit  Tab pane  up/down move  Enter open  s sort  / filter  p pause".to_owned(),
    };
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Paragraph::new(text).style(reversed), area);
}

/// One ending in full.
fn draw_ending(frame: &mut Frame<'_>, ending: &Ending) {
    let number = |n: Option<u64>| n.map_or("unknown".to_owned(), |n| n.to_string());
    let side = |s: Option<lastbyte::Side>| s.map_or("unknown", lastbyte::Side::as_str);
    let bytes = &ending.bytes;
    let rst = match ending.rst {
        Some(rst) => format!(
            "{}{}",
            rst.by(),
            rst.words().map(|w| format!(": {w}")).unwrap_or_default()
        ),
        None => "unknown".to_owned(),
    };
    let states = match ending.states {
        Some(states) => states
            .iter()
            .map(|(name, time)| format!("{name} {time:?}"))
            .collect::<Vec<_>>()
            .join(", "),
        None => "unknown".to_owned(),
    };
    let opened = ending.opened.map_or("unknown".to_owned(), |time| {
        humantime::format_rfc3339_micros(time).to_string()
    });
    let mut lines = vec![
        format!("{} to {}", ending.tuple.local, ending.tuple.remote),
        format!(
            "fate          {}",
            ending.fate.map_or("unknown", Fate::as_str)
        ),
        format!("closed first  {}", side(ending.closed_first)),
        format!("owner         {}", process(ending.owner)),
        format!("closed by     {}", process(ending.closer)),
        format!("opened        {opened}"),
        format!(
            "ended         {}",
            humantime::format_rfc3339_micros(ending.time)
        ),
        format!("RST by        {rst}"),
        format!(
            "sent          {}, acknowledged {}",
            number(bytes.sent),
            number(bytes.acked)
        ),
        format!("lost          {}", number(bytes.lost)),
        format!(
            "received      {}, unread {}",
            number(bytes.received),
            number(bytes.unread)
        ),
        format!("time in       {states}"),
        format!("evidence      {}", ending.evidence.as_str()),
    ];
    if let Some(error) = ending.error {
        lines.insert(2, format!("error         {error}"));
    }
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

/// Who dropped most of it: a larger buffer, or more CPU, would help.
fn mostly(dropped: Dropped) -> &'static str {
    match dropped.by_kernel >= dropped.here {
        true => " by kernel",
        false => " here",
    }
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
    fn numbers_are_short() {
        assert_eq!((size(17), size(2_803_472)), ("17".into(), "2.8M".into()));
        assert_eq!(
            (age(Duration::from_secs(41)), clock(UNIX_EPOCH)),
            ("41s".into(), "00:00:00".into())
        );
    }
}
