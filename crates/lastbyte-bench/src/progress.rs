//! What is going on, on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Shown on standard error where that is a terminal.
    pub(crate) fn start() -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
        // The template is constant and right; without it the default is shown.
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(crate) fn step(&self, scenario: &str, subject: &str, round: usize, rounds: usize) {
        let round = match round {
            0 => "warming up".to_owned(),
            n => format!("round {n} of {rounds}"),
        };
        self.0
            .set_message(format!("{scenario}, {round}: {subject}"));
        self.0.tick();
    }

    /// A line that stays, on standard error.
    pub(crate) fn note(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
