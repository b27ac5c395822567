//! What is wrong with how this host's connections end, in plain sentences with
//! numbers, the owner and the cure.
//!
//! [`observe`] gathers [`Observations`]; [`findings`] is a pure function over them.

mod backlog;
mod close;
mod closes;
mod finding;
mod holders;
mod observations;
mod observe;
mod party;
mod resources;
#[cfg(test)]
mod snapshots;
mod stray_resets;
mod strays;
mod stuck;
mod time_wait;

pub use finding::{Example, Finding, Severity, Victim};
pub use observations::Observations;
pub(crate) use observations::{Listener, Stuck, TimeWaitCounts};
pub use observe::observe;
pub(crate) use party::{Part, Party};

/// The names of all findings, each an anchor of `docs/doctor.md`.
pub const IDS: [&str; 19] = [
    "close-wait-leak",
    "inherited-descriptor",
    "nobody-accepts",
    "lost-after-close",
    "reset-by-unread-input",
    "tls-close-notify-unread",
    "closed-while-peer-sent",
    "wrote-after-close",
    "peer-silent",
    "aborted-by-linger-zero",
    "unknown-connection",
    "time-wait-exhaustion",
    "time-wait-closes-first",
    "fin-wait2-held",
    "orphans-waiting",
    "orphans-dropped",
    "backlog-reset",
    "backlog-overflow",
    "time-wait-overflow",
];

/// Returns every finding that these observations show, the gravest first.
#[must_use]
pub fn findings(seen: &Observations) -> Vec<Finding> {
    let mut found = Vec::new();
    closes::closes(seen, &mut found);
    time_wait::exhaustion(seen, &mut found);
    backlog::nobody_accepts(seen, &mut found);
    stuck::close_wait(seen, &mut found);
    stuck::inherited(seen, &mut found);
    backlog::overflow(seen, &mut found);
    resources::orphans(seen, &mut found);
    resources::overflow(seen, &mut found);
    strays::unknown(seen, &mut found);
    stuck::fin_wait2(seen, &mut found);
    time_wait::closes_first(seen, &mut found);
    // Stable: what is alike stays in the order above.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}
