//! In which control group a process is.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock;
use crate::process::{proc_is_ours, start_time};

/// For how long an answer holds.
const HOLDS: Duration = Duration::from_secs(1);
/// Answers kept.
const KEPT: usize = 4096;
const TICK: u64 = 1_000_000_000 / 100;

/// The control groups of processes, asked of `/proc`.
#[derive(Debug)]
pub(crate) struct Cgroups {
    known: HashMap<u32, Known>,
    proc_is_ours: bool,
}

#[derive(Debug)]
struct Known {
    asked: Instant,
    /// When the process started, in nanoseconds since the machine did.
    started: Option<u64>,
    path: Option<Arc<str>>,
}

impl Cgroups {
    pub(crate) fn new() -> Self {
        Self {
            known: HashMap::new(),
            proc_is_ours: proc_is_ours(),
        }
    }

    /// That of the process which had this number at a moment of `CLOCK_MONOTONIC`; `None`
    /// where it is gone, even if another has the number now.
    pub(crate) fn of(&mut self, pid: u32, at: u64) -> Option<Arc<str>> {
        if !self.proc_is_ours {
            return None;
        }
        if self.known.len() >= KEPT {
            self.known.clear();
        }
        let known = self.known.entry(pid).or_insert_with(|| Known::ask(pid));
        if known.asked.elapsed() > HOLDS {
            *known = Known::ask(pid);
        }
        // Ticks are counted from the start, the time asleep included.
        let at = at.saturating_add(clock::asleep());
        let is_it = known.started? <= at.saturating_add(TICK);
        known.path.clone().filter(|_| is_it)
    }
}

impl Known {
    fn ask(pid: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let path = read("cgroup").and_then(|text| path(&text).map(Arc::from));
        // Asked last: the path was this process's, or nobody's any more.
        let started = read("stat").and_then(|stat| start_time(&stat));
        Self {
            asked: Instant::now(),
            started: started.map(|ticks| ticks.saturating_mul(TICK)),
            path,
        }
    }
}

/// The path in the unified hierarchy; where the process is at its root, or there is
/// none, the first other than the root in the old ones.
fn path(text: &str) -> Option<&str> {
    let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    let below_root = |path: &&str| *path != "/";
    unified
        .filter(below_root)
        .or_else(|| paths().find(below_root))
        .or(unified)
        .or_else(|| paths().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_comes_first() {
        assert_eq!(
            path("0::/system.slice/x.service\n"),
            Some("/system.slice/x.service")
        );
        assert_eq!(path("4:memory:/docker/1\n0::/a:b\n"), Some("/a:b"));
        assert_eq!(
            path("9:name=systemd:/\n4:memory:/docker/1\n0::/\n"),
            Some("/docker/1")
        );
        assert_eq!(path("4:memory:/\n0::/\n"), Some("/"));
        assert_eq!(path(""), None);
    }

    #[test]
    fn a_process_that_came_later_is_another() {
        let mut cgroups = Cgroups::new();
        let me = std::process::id();
        assert!(cgroups.of(me, clock::monotonic()).is_some());
        assert_eq!(cgroups.of(me, 0), None);
        assert_eq!(cgroups.of(u32::MAX, clock::monotonic()), None);
    }
}
