//! What a watch cannot report, and what would add it.

use super::Watcher;
use super::sources::{self, Source};
use crate::process;

/// Why not everything can be told.
#[derive(Debug)]
pub(super) enum Blind {
    /// No tracepoints.
    Everywhere(String),
    /// No trace instance for what happens on idle CPUs.
    WhereIdle(String),
}

impl Watcher {
    /// Returns what this watch cannot report, and what would add it: one sentence each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match &self.blind {
            Some(Blind::Everywhere(why)) => notes.push(format!(
                "no tracepoints ({why}): who closed, RST reasons, times in states and some \
                 verdicts stay unknown (null); run as root, or with CAP_PERFMON and readable \
                 tracefs, to see them"
            )),
            Some(Blind::WhereIdle(why)) => notes.push(format!(
                "no trace instance ({why}): some kernels hide from perf what happens on idle \
                 CPUs; the endings that miss a step are inferred"
            )),
            None => {}
        }
        if !process::proc_is_ours() {
            notes.push(
                "/proc is of another pid namespace: the names of processes that are running, and \
                 owners, are not known (mount it anew, as unshare --mount-proc does)"
                    .to_owned(),
            );
        } else if process::pid_namespace("self") != Some(process::FIRST_NAMESPACE) {
            notes.push(
                "a pid namespace of its own: processes outside of it have no number here (pid \
                 and comm are null)"
                    .to_owned(),
            );
        }
        if !rustix::process::geteuid().is_root() {
            notes.push(
                "not root: owners (pid, comm) are known for your own processes only".to_owned(),
            );
        }
        notes
    }

    /// Returns its sources, and what is missing of each.
    #[must_use]
    pub fn sources(&self) -> [Source; 5] {
        let (steps, idle) = match &self.blind {
            Some(Blind::Everywhere(why)) => (Some(why.clone()), Some(why.clone())),
            Some(Blind::WhereIdle(why)) => (None, Some(why.clone())),
            None => (None, None),
        };
        let owners = match rustix::process::geteuid().is_root() {
            _ if !process::proc_is_ours() => Some("/proc is of another pid namespace".to_owned()),
            true => None,
            false => Some("not root: of your own processes only".to_owned()),
        };
        sources::list([None, None, steps, idle, owners])
    }
}
