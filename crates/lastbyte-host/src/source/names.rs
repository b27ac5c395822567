//! The names of processes: asked of `/proc` once, kept up to date by what the
//! kernel tells of forks, execs and exits, so that a process that is gone by the
//! time its ending is told still has its name.

use std::collections::{HashMap, VecDeque};

use crate::process::{Comm, Process, proc_is_ours};

/// Names of processes that have ended, kept this many.
const GONE: usize = 4096;
/// Names at most; beyond, they are asked for anew.
const NAMES: usize = 1 << 17;

/// The names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    names: HashMap<u32, Comm>,
    gone: VecDeque<u32>,
    /// `/proc` is of another pid namespace: its numbers are of other processes.
    proc_is_foreign: bool,
}

impl Names {
    /// Reads those of every process that is there.
    #[must_use]
    pub(crate) fn read_all() -> Self {
        let mut names = Self {
            proc_is_foreign: !proc_is_ours(),
            ..Self::default()
        };
        let Ok(folder) = std::fs::read_dir("/proc") else {
            return names;
        };
        for entry in folder.flatten() {
            if let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            {
                names.of(pid);
            }
        }
        names
    }

    /// A process by number.
    pub(crate) fn of(&mut self, pid: u32) -> Process {
        if let Some(comm) = self.names.get(&pid) {
            return Process { pid, comm: *comm };
        }
        if self.proc_is_foreign {
            let comm = Comm::default();
            return Process { pid, comm };
        }
        let comm = std::fs::read(format!("/proc/{pid}/comm"))
            .map(|name| Comm::from_bytes(&name))
            .unwrap_or_default();
        if !comm.is_empty() {
            self.set(pid, comm);
        }
        Process { pid, comm }
    }

    /// A process took this name.
    pub(crate) fn set(&mut self, pid: u32, comm: Comm) {
        if self.names.len() >= NAMES {
            self.names.clear();
            self.gone.clear();
        }
        self.names.insert(pid, comm);
    }

    /// A process was forked and has its parent's name.
    pub(crate) fn forked(&mut self, pid: u32, parent: u32) {
        let comm = self.of(parent).comm;
        if pid != parent {
            self.gone.retain(|gone| *gone != pid);
            self.set(pid, comm);
        }
    }

    /// A process ended. Its name is kept a while: its sockets may end later.
    pub(crate) fn exited(&mut self, pid: u32) {
        self.gone.push_back(pid);
        if self.gone.len() > GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.names.remove(&oldest);
        }
    }
}
