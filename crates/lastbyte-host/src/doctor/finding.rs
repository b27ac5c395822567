//! What is reported: one finding for each kind of fault, program and port.

use std::collections::BTreeSet;

use serde::Serialize;

use super::party::{Part, Party};
use crate::process::Comm;
use crate::tuple::Tuple;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; healthy programs do it.
    Info,
    /// It can cost data, ports or time; whether it does depends on what is not seen here.
    Warning,
    /// Data, requests or descriptors are being lost.
    Problem,
}

impl Severity {
    /// Returns `info`, `warning` or `problem`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One fault that was found. Its keys in JSON are documented in `docs/doctor.md` and stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name, and its anchor in the explanations.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, with numbers and the program.
    pub what: String,
    /// Why it is so.
    pub why: String,
    /// What to do.
    pub cure: String,
    /// What people try instead, and why it does not help.
    pub myth: Option<&'static str>,
    /// The command that prints its paragraph of `docs/doctor.md`.
    pub explained: String,
    /// The program that does it, where it is known.
    pub program: Option<Comm>,
    /// `server` or `client`, where it is known.
    pub side: Option<&'static str>,
    /// The ports of the service.
    pub ports: Vec<u16>,
    /// The program's processes.
    pub pids: Vec<u32>,
    /// How many connections or sockets.
    pub count: u64,
    /// Bytes of the program's own that were lost, as far as they are known.
    pub lost: Option<u64>,
    /// The worst of them.
    pub examples: Vec<Example>,
    /// Whom it hit, where they are on this host.
    pub victims: Vec<Victim>,
}

/// One connection or socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// This end.
    pub local: String,
    /// The other end.
    pub remote: String,
    /// The process at this end.
    pub pid: Option<u32>,
    /// Bytes of this end that were lost.
    pub lost: Option<u64>,
    /// Bytes that arrived here and were never read.
    pub unread: Option<u64>,
    /// For how long it has been as it is, in seconds.
    pub age_s: Option<u64>,
}

impl Example {
    /// Of a connection; the rest is unknown.
    pub(super) fn of(tuple: &Tuple, pid: Option<u32>) -> Self {
        Self {
            local: tuple.local.to_string(),
            remote: tuple.remote.to_string(),
            pid,
            lost: None,
            unread: None,
            age_s: None,
        }
    }
}

/// A program on this host at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Victim {
    /// Its name.
    pub program: Option<Comm>,
    /// Its processes.
    pub pids: Vec<u32>,
    /// Connections of it that were hit.
    pub connections: u64,
    /// What it lost on those of them of which that is known.
    pub lost: Option<u64>,
}

impl Finding {
    pub(super) fn new(
        id: &'static str,
        severity: Severity,
        what: String,
        why: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        debug_assert!(super::IDS.contains(&id), "{id} has no explanation");
        Self {
            id,
            severity,
            what,
            why: why.into(),
            cure: cure.into(),
            myth: None,
            explained: format!("lastbyte explain {id}"),
            program: None,
            side: None,
            ports: Vec::new(),
            pids: Vec::new(),
            count: 1,
            lost: None,
            examples: Vec::new(),
            victims: Vec::new(),
        }
    }

    pub(super) fn myth(mut self, myth: &'static str) -> Self {
        self.myth = Some(myth);
        self
    }

    pub(super) fn by(mut self, who: &Who) -> Self {
        self.program = who.name;
        self.side = who.part.as_str();
        self.ports = who.ports.iter().copied().collect();
        self.pids = who.pids.iter().copied().collect();
        self
    }

    pub(super) fn count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    pub(super) fn lost(mut self, lost: Option<u64>) -> Self {
        self.lost = lost;
        self
    }

    pub(super) fn examples(mut self, examples: Vec<Example>) -> Self {
        self.examples = examples;
        self
    }
}

/// A program with its processes and ports, as a finding names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) name: Option<Comm>,
    pub(super) part: Part,
    pub(super) ports: BTreeSet<u16>,
    pub(super) pids: BTreeSet<u32>,
    /// Whether everything that can be known of processes is.
    pub(super) root: bool,
}

/// Numbers that one sentence lists.
const LISTED: usize = 3;

impl Who {
    pub(super) fn new(party: Party, root: bool) -> Self {
        Self {
            name: party.name,
            part: party.part,
            ports: party.port.into_iter().collect(),
            pids: BTreeSet::new(),
            root,
        }
    }

    /// Without its part and ports: ``pid 812 `app` ``.
    pub(super) fn process(&self) -> String {
        let name = self.name.map(|name| format!("`{name}`"));
        match (self.pids.len(), name) {
            (0, None) if self.root => {
                "an unknown process (already gone, or of another pid namespace)".to_owned()
            }
            (0, None) => "an unknown process (run as root to learn which)".to_owned(),
            (0, Some(name)) => name,
            (1, name) => {
                let name = name.map_or(String::new(), |name| format!(" {name}"));
                format!("pid {}{name}", list(&self.pids))
            }
            (many, name) => {
                let name = name.unwrap_or_else(|| "processes without a name".to_owned());
                format!("{name} ({many} processes: {})", list(&self.pids))
            }
        }
    }

    fn service(&self) -> Option<String> {
        let ports = match self.ports.len() {
            0 => return self.part.as_str().map(str::to_owned),
            1 => format!("port {}", list(&self.ports)),
            _ => format!("ports {}", list(&self.ports)),
        };
        Some(match self.part {
            Part::Server => format!("server, {ports}"),
            Part::Client => format!("client of {ports}"),
            Part::Unknown => ports,
        })
    }
}

impl std::fmt::Display for Who {
    /// ``pid 812 `app` (server, port 80)``
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.process())?;
        match self.service() {
            Some(service) => write!(f, " ({service})"),
            None => Ok(()),
        }
    }
}

/// `1, 2, 3, …`
pub(super) fn list<T: std::fmt::Display>(numbers: &BTreeSet<T>) -> String {
    let mut shown: Vec<String> = numbers
        .iter()
        .take(LISTED)
        .map(ToString::to_string)
        .collect();
    if numbers.len() > LISTED {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// `1 socket`, `3 sockets`.
pub(super) fn count(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// `41 s`, `3 min`.
pub(super) fn seconds(time: std::time::Duration) -> String {
    match time.as_secs() {
        s @ 0..120 => format!("{s} s"),
        s => format!("{} min", s / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(pids: &[u32]) -> Who {
        Who {
            name: Some(Comm::from_bytes(b"app")),
            part: Part::Server,
            ports: [80].into(),
            pids: pids.iter().copied().collect(),
            root: true,
        }
    }

    #[test]
    fn one_process_or_many_have_their_part_and_port() {
        assert_eq!(app(&[812]).to_string(), "pid 812 `app` (server, port 80)");
        assert_eq!(
            app(&[1, 2, 3, 4]).to_string(),
            "`app` (4 processes: 1, 2, 3, …) (server, port 80)"
        );
        let client = Who {
            part: Part::Client,
            ports: [80, 443].into(),
            ..app(&[7])
        };
        assert_eq!(client.to_string(), "pid 7 `app` (client of ports 80, 443)");
    }

    #[test]
    fn root_is_not_told_to_run_as_root() {
        let nobody = |root| Who {
            name: None,
            root,
            ..app(&[])
        };
        assert!(!nobody(true).to_string().contains("run as root"));
        assert!(nobody(false).to_string().contains("run as root"));
    }

    #[test]
    fn severities_are_in_order() {
        assert!(Severity::Info < Severity::Warning && Severity::Warning < Severity::Problem);
    }
}
