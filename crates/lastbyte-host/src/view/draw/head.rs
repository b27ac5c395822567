//! The head: rates and totals by fate.

use lastbyte::Fate;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Model, Theme, size, sum};
use crate::losses::{Dropped, Losses};

/// Lines of the head.
pub(super) const HEIGHT: u16 = 4;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut names = vec![Span::raw(format!("{:10}", ""))];
    let mut rates = vec![Span::raw(format!("{:10}", "per second"))];
    let mut totals = vec![Span::raw(format!("{:10}", "in all"))];
    for (at, rate) in model.rates.iter().enumerate() {
        let fate = Fate::ALL.get(at).copied();
        let total = model.sums().by_fate[at];
        // What only a close with a deadline can give is not shown before it is.
        let usual = matches!(
            fate,
            None | Some(
                Fate::Delivered | Fate::Confirmed | Fate::Reset | Fate::Failed | Fate::Aborted
            )
        );
        if usual || total > 0 {
            let name = fate.map_or("unknown", Fate::as_str);
            names.push(Span::styled(format!("{name:>10}"), theme.of(fate)));
            rates.push(Span::styled(format!("{rate:>10.0}"), theme.of(fate)));
            totals.push(Span::styled(
                format!("{:>10}", short(total)),
                theme.of(fate),
            ));
        }
    }
    let bytes = [
        ("lost", model.sums().lost),
        ("unread", model.sums().unread),
        ("acked", model.sums().acked),
        ("received", model.sums().received),
    ];
    for (name, number) in bytes {
        names.push(Span::raw(format!("{name:>10}")));
        rates.push(Span::raw(format!("{:10}", "")));
        totals.push(Span::raw(format!("{:>9}B", sum(number))));
    }
    let lines = vec![
        Line::styled(title(model), bold),
        Line::from(names),
        Line::from(rates),
        Line::from(totals),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

fn title(model: &Model) -> String {
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
        title += "  not all is known: ? says why";
    }
    title
}

/// Up to seven digits, then units.
fn short(number: u64) -> String {
    match number {
        0..=9_999_999 => number.to_string(),
        more => size(more),
    }
}

/// Who dropped most of it: a larger buffer, or more CPU, would help.
fn mostly(dropped: Dropped) -> &'static str {
    match dropped.by_kernel >= dropped.here {
        true => " by kernel",
        false => " here",
    }
}
