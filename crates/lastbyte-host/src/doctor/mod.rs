//! What is wrong with how this host's connections end, in plain sentences with
//! numbers, the owner and the cure.
//!
//! [`look`] gathers [`Observations`]; [`findings`] is a pure function over them.

mod closes;
mod look;
mod observations;
mod resources;
mod stuck;
mod time_wait;

pub use look::look;
pub use observations::{Direction, Group, Observations, Stuck, TimeWait};

use serde::Serialize;

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name, and its anchor in the explanations.
    pub id: &'static str,
    /// What is wrong, with numbers and the owner.
    pub what: String,
    /// Why it is so.
    pub why: String,
    /// What to do.
    pub cure: String,
    /// What people try instead, and why it does not help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub myth: Option<&'static str>,
    /// Where it is explained.
    pub explained: String,
}

impl Finding {
    fn new(
        id: &'static str,
        what: String,
        why: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        debug_assert!(IDS.contains(&id), "{id} has no explanation");
        Self {
            id,
            what,
            why: why.into(),
            cure: cure.into(),
            myth: None,
            explained: format!(
                "{}/blob/main/docs/doctor.md#{id}",
                env!("CARGO_PKG_REPOSITORY")
            ),
        }
    }

    fn myth(mut self, myth: &'static str) -> Self {
        self.myth = Some(myth);
        self
    }
}

/// The names of all findings, each an anchor of `docs/doctor.md`.
pub const IDS: [&str; 11] = [
    "close-wait-leak",
    "lost-after-close",
    "reset-by-unread-input",
    "time-wait-exhaustion",
    "time-wait-closes-first",
    "fin-wait2-held",
    "orphans-waiting",
    "orphans-dropped",
    "backlog-reset",
    "backlog-overflow",
    "time-wait-overflow",
];

/// Everything wrong that the observations show, the gravest first.
#[must_use]
pub fn findings(seen: &Observations) -> Vec<Finding> {
    let mut found = Vec::new();
    closes::lost_after_close(seen, &mut found);
    closes::unread_input(seen, &mut found);
    time_wait::exhaustion(seen, &mut found);
    stuck::close_wait(seen, &mut found);
    resources::backlog(seen, &mut found);
    resources::orphans(seen, &mut found);
    resources::overflow(seen, &mut found);
    stuck::fin_wait2(seen, &mut found);
    time_wait::closes_first(seen, &mut found);
    found
}

/// `1 socket`, `3 sockets`.
fn count(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// `41 s`, `3 min`.
fn seconds(time: std::time::Duration) -> String {
    match time.as_secs() {
        s @ 0..120 => format!("{s} s"),
        s => format!("{} min", s / 60),
    }
}

/// Whoever it is.
fn who(process: Option<crate::process::Process>) -> String {
    match process {
        Some(process) => process.to_string(),
        None => "an unknown process (run as root to learn which)".to_owned(),
    }
}
