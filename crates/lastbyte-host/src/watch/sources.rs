//! The sources that a watch reads.

/// A source that a watch reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: &'static str,
    /// What it reports.
    pub tells: &'static str,
    /// Why it is unavailable, or not complete; `None` where it is complete.
    pub missing: Option<String>,
}

/// Their names, in the order of [`Watcher::sources`](super::Watcher::sources).
pub(crate) const NAMES: [&str; 5] = [
    "destroy_notices",
    "socket_dumps",
    "tracepoints",
    "idle_traces",
    "owners",
];

const TELLS: [&str; 5] = [
    "each connection's final counts",
    "connections that live, and TIME_WAIT",
    "each step, each RST and its reason, who closed",
    "the same of what happens on idle CPUs",
    "which process holds a connection",
];

/// Each of them with what is missing.
pub(crate) fn list(missing: [Option<String>; 5]) -> [Source; 5] {
    let mut index = 0;
    missing.map(|missing| {
        let source = Source {
            name: NAMES[index],
            tells: TELLS[index],
            missing,
        };
        index += 1;
        source
    })
}
