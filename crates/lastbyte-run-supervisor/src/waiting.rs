//! What people are told while the command stays after its program: how long, and why.

use std::fmt;
use std::time::{Duration, Instant};

/// A wait that is over sooner is not worth a line.
const FIRST: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_secs(10);
/// Lines, at most.
const MOST: u32 = 30;

/// When the next line is due.
pub(crate) struct Lines {
    next: Instant,
    left: u32,
}

/// What is waited for.
pub(crate) struct Reason {
    /// Connections of which data or the FIN are not acknowledged.
    pub(crate) undelivered: usize,
    /// Connections that are delivered, and held so that late input resets nothing.
    pub(crate) held: usize,
    /// How much longer `--patience` lasts.
    pub(crate) at_most: Duration,
}

impl Lines {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            next: now + FIRST,
            left: MOST,
        }
    }

    /// When to look again whether a line is due; `None` if none ever is.
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.left > 0).then_some(self.next)
    }

    /// Whether a line is due, which then counts as written.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.left > 0 && now >= self.next;
        if is_due {
            self.left -= 1;
            self.next = now + EVERY;
        }
        is_due
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the program has ended; ")?;
        let what = |count: usize| match count {
            1 => "1 connection is".to_owned(),
            _ => format!("{count} connections are"),
        };
        match (self.undelivered, self.held) {
            (0, 0) => write!(f, "processes of the run are looked at")?,
            (0, held) => write!(f, "{} delivered and held for late input", what(held))?,
            (open, 0) => write!(f, "{} not delivered yet", what(open))?,
            (open, held) => write!(
                f,
                "{} not delivered yet, {held} delivered and held for late input",
                what(open)
            )?,
        }
        write!(
            f,
            ", which is waited for, up to {} s (--patience; --detach-endings waits in the \
             background)",
            self.at_most.as_secs_f64().ceil()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_late_and_there_is_an_end_to_them() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        assert!(!lines.is_due(start + FIRST / 2));
        assert!(lines.is_due(start + FIRST));
        assert!(!lines.is_due(start + FIRST + EVERY / 2));
        let written = (1..1000).filter(|n| lines.is_due(start + FIRST + EVERY * *n));
        assert_eq!(written.count(), MOST as usize - 1);
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn it_says_how_long_and_why() {
        let reason = |undelivered, held| Reason {
            undelivered,
            held,
            at_most: Duration::from_millis(57_200),
        };
        assert_eq!(
            reason(2, 1).to_string(),
            "the program has ended; 2 connections are not delivered yet, 1 delivered and held for \
             late input, which is waited for, up to 58 s (--patience; --detach-endings waits in \
             the background)"
        );
        assert!(
            reason(1, 0)
                .to_string()
                .contains("1 connection is not delivered yet, which")
        );
        assert!(
            reason(0, 3)
                .to_string()
                .contains("3 connections are delivered and held")
        );
    }
}
