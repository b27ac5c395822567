//! Trace instances of watches that were killed before they could remove them.
//!
//! An instance is named after its process: the pid namespace, the pid in it, and when
//! the process started, as a pid is given to another process later.

use std::fs;
use std::io;
use std::path::Path;

use super::doing;
use crate::process::{FIRST_NAMESPACE, pid_namespace as namespace, start_time};

const PREFIX: &str = "lastbyte-";

/// A process, whatever namespace it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    namespace: u64,
    pid: u32,
    /// In clock ticks since the machine started.
    started: u64,
}

/// What the names of this process's instances begin with.
///
/// # Errors
///
/// `/proc` is not mounted.
pub(super) fn own_prefix() -> io::Result<String> {
    let me = Owner {
        namespace: namespace("self").ok_or_else(|| no_proc("ns/pid"))?,
        pid: std::process::id(),
        started: started("self").ok_or_else(|| no_proc("stat"))?,
    };
    Ok(me.prefix())
}

fn no_proc(file: &str) -> io::Error {
    doing(format!("cannot read /proc/self/{file}"))(io::ErrorKind::NotFound.into())
}

/// Removes the instances of processes that are certainly gone.
pub(super) fn remove(instances: &Path) {
    let Ok(folder) = fs::read_dir(instances) else {
        return;
    };
    for entry in folder.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(Owner::parse);
        if owner.is_some_and(|owner| owner.is_gone()) {
            // Another watch may be faster.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Owner {
    fn prefix(&self) -> String {
        let Self {
            namespace,
            pid,
            started,
        } = self;
        format!("{PREFIX}{namespace}-{pid}-{started}")
    }

    /// From the name of an instance, if it is one of ours.
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (namespace, pid, started) = (number()?, number()?, number()?);
        let owner = Self {
            namespace,
            pid: u32::try_from(pid).ok()?,
            started,
        };
        // The number of the instance, and nothing after it.
        number()?;
        parts.next().is_none().then_some(owner)
    }

    fn is_gone(&self) -> bool {
        // Of our own namespace, and from the first, every process is seen.
        let seen =
            namespace("self").is_some_and(|ours| [self.namespace, FIRST_NAMESPACE].contains(&ours));
        seen && !self.is_among_all()
    }

    /// Whether one of all processes may be this one. Its pid is not asked for: `/proc`
    /// may be that of another namespace.
    fn is_among_all(&self) -> bool {
        let Ok(folder) = fs::read_dir("/proc") else {
            return true;
        };
        folder.flatten().any(|entry| {
            entry.file_name().to_str().is_some_and(|pid| {
                pid.parse::<u32>().is_ok()
                    && started(pid) == Some(self.started)
                    && namespace(pid).is_none_or(|its| its == self.namespace)
            })
        })
    }
}

/// When a process started.
fn started(pid: &str) -> Option<u64> {
    start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Owner {
        Owner::parse(&format!("{}-0", own_prefix().expect("/proc is mounted")))
            .expect("its own name")
    }

    #[test]
    fn a_process_that_lives_is_not_gone_and_its_pid_alone_does_not_make_it_so() {
        assert!(!me().is_gone());
        // The pid was another process's before.
        let earlier = Owner {
            started: me().started - 1,
            ..me()
        };
        assert!(earlier.is_gone());
    }

    #[test]
    fn of_a_namespace_that_is_not_seen_whole_nothing_is_gone() {
        let elsewhere = Owner {
            namespace: 1,
            ..me()
        };
        let all_seen = namespace("self") == Some(FIRST_NAMESPACE);
        assert_eq!(elsewhere.is_gone(), all_seen);
    }

    #[test]
    fn only_our_own_names_are_read() {
        for name in [
            "lastbyte-1-2-3",
            "lastbyte-1-2-3-4-5",
            "lastbyte-x-2-3-0",
            "other-1-2-3-0",
        ] {
            assert_eq!(Owner::parse(name), None, "{name}");
        }
    }
}
