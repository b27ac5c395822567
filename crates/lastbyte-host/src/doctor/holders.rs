//! Whether a process seems to have inherited a descriptor that it does not know of.

use std::fs;
use std::path::PathBuf;

use super::observations::Inherited;
use crate::process::{Comm, Process};
use crate::source::clock;

/// Descriptors below are standard input, output and error: handed over on purpose.
const FIRST_OF_ITS_OWN: u32 = 3;
/// `/proc/PID/stat` counts time in ticks of 10 ms; the kernel counts a socket's in ticks
/// of up to 10 ms, too.
const TICKS: u64 = 20_000_000;

/// Whether the process seems to have inherited this descriptor, of a socket that existed
/// at the time told: the socket is no younger than the process, the descriptor is not
/// close-on-exec, and the process runs another program than its parent, so that there
/// was an exec between, or its parent is gone. `None` also where that cannot be read.
pub(super) fn inherited(pid: u32, fd: u32, existed_at: u64) -> Option<Inherited> {
    if fd < FIRST_OF_ITS_OWN || closes_on_exec(pid, fd)? {
        return None;
    }
    let stat = Stat::read(pid)?;
    if existed_at > stat.started.saturating_add(TICKS) {
        return None;
    }
    let parent = stat.parent;
    // Whoever adopted it did not start it.
    if parent <= 1 {
        return Some(Inherited { from: None });
    }
    if exe(pid)? == exe(parent)? {
        return None;
    }
    Some(Inherited {
        from: Some(Process {
            pid: parent,
            comm: comm(parent),
        }),
    })
}

fn closes_on_exec(pid: u32, fd: u32) -> Option<bool> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
    Some(flags & libc::O_CLOEXEC != 0)
}

fn exe(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn comm(pid: u32) -> Comm {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Comm::from_bytes(&name)
}

/// What `/proc/PID/stat` tells.
struct Stat {
    parent: u32,
    /// In nanoseconds of `CLOCK_MONOTONIC`.
    started: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (parent, ticks) = fields(&stat)?;
        // It counts since boot, suspends included.
        let suspended = clock::boot().saturating_sub(clock::monotonic());
        Some(Self {
            parent,
            started: (ticks * (1_000_000_000 / 100)).saturating_sub(suspended),
        })
    }
}

/// The parent and the start time in ticks (USER_HZ is 100 on every Linux), fields 4 and
/// 22 of proc_pid_stat(5).
fn fields(stat: &str) -> Option<(u32, u64)> {
    // The name, field 2, may contain anything, a bracket as well.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((parent, started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 4567 1 2";
        assert_eq!(fields(stat), Some((3, 4567)));
        assert_eq!(fields("7 (a) S 3"), None);
    }

    #[test]
    fn this_process_was_started_before_now_and_has_a_parent() {
        let me = Stat::read(std::process::id()).expect("/proc is mounted");
        assert!(me.started <= clock::monotonic() + TICKS && me.parent > 0);
    }
}
