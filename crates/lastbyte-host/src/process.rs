//! Processes by number and name.

use std::fmt;
use std::fs;

use serde::{Serialize, Serializer};

/// A process's name as the kernel keeps it: at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Comm([u8; 16]);

impl Comm {
    /// From bytes that a NUL or the end of the line ends.
    #[must_use]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut comm = [0; 16];
        let name = bytes
            .iter()
            .take(15)
            .take_while(|b| !matches!(b, 0 | b'\n'));
        for (to, from) in comm.iter_mut().zip(name) {
            *to = *from;
        }
        Self(comm)
    }

    fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// Returns whether the name is unknown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0[0] == 0
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A process may name itself anything: no control byte reaches a terminal.
        let name: String = String::from_utf8_lossy(self.bytes())
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        f.pad(&name)
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Comm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `PROC_PID_INIT_INO`: the first pid namespace, in which every process has a number.
pub(crate) const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The pid namespace of a process of `/proc`, by its inode.
pub(crate) fn pid_namespace(pid: &str) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?;
    let number = link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?;
    number.parse().ok()
}

/// Whether `/proc` has the numbers of our own pid namespace, as perf has, and not
/// those of another one that it was mounted in.
pub(crate) fn proc_is_ours() -> bool {
    let own = std::process::id().to_string();
    fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == own.as_str())
}

/// When a process started, in clock ticks since the machine did: field 22 of
/// `/proc/PID/stat`. The name before it may hold anything.
pub(crate) fn start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    /// Its number, in the namespace of whoever watches.
    pub pid: u32,
    /// Its name; empty when it was gone before it could be asked for.
    pub comm: Comm,
}

impl fmt::Display for Process {
    /// ``pid 812 `app` ``
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        if !self.comm.is_empty() {
            write!(f, " `{}`", self.comm)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let stat = format!("812 (a) b) (c) {}", fields.join(" "));
        assert_eq!(start_time(&stat), Some(22));
        assert_eq!(start_time("812 (cut off"), None);
    }

    #[test]
    fn a_name_ends_at_its_nul_and_hides_control_bytes() {
        assert_eq!(Comm::from_bytes(b"app\0rest").to_string(), "app");
        assert_eq!(Comm::from_bytes(b"a\x1b[31m\n").to_string(), "a?[31m");
        assert_eq!(
            Comm::from_bytes(b"0123456789abcdefXYZ").to_string(),
            "0123456789abcde"
        );
    }
}
