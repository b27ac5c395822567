//! Sockets whose process must be gone before they are ended: it is exiting, and what
//! stdio still holds is written after they were sent. Whether another process goes on
//! with them is looked at then (`holder_search`).

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use crate::channel::Delivery;
use crate::process_limits::open_process;

#[derive(Default)]
pub(crate) struct ExitingProcesses(HashMap<libc::pid_t, ExitingProcess>);

/// One process's: one descriptor tells of its end, however many sockets it sent.
pub(crate) struct ExitingProcess {
    pub(crate) process: OwnedFd,
    pub(crate) pid: libc::pid_t,
    user: u32,
    deliveries: Vec<Delivery>,
}

/// What is to be done with a socket whose process is exiting.
pub(crate) enum Watched<'a> {
    /// The process is watched from now on.
    First(&'a ExitingProcess),
    /// It was already.
    Another,
    /// It is gone.
    Now(Delivery),
    /// It cannot be watched; the socket is to be closed, which its exit would do too.
    Unwatched(Delivery),
}

impl ExitingProcesses {
    pub(crate) fn add(&mut self, delivery: Delivery) -> Watched<'_> {
        let pid = delivery.sender;
        if let Some(process) = self.0.get_mut(&pid) {
            process.deliveries.push(delivery);
            return Watched::Another;
        }
        match open_process(pid) {
            Ok(process) => {
                let process = ExitingProcess {
                    process,
                    pid,
                    user: delivery.user,
                    deliveries: vec![delivery],
                };
                Watched::First(self.0.entry(pid).or_insert(process))
            }
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Watched::Now(delivery),
            Err(_) => Watched::Unwatched(delivery),
        }
    }

    /// The sockets of a process that is gone.
    pub(crate) fn take(&mut self, pid: libc::pid_t) -> Vec<Delivery> {
        self.0
            .remove(&pid)
            .map_or(Vec::new(), |process| process.deliveries)
    }

    /// Another process has closed that socket, as the last.
    pub(crate) fn forget(&mut self, cookie: u64) -> Vec<Delivery> {
        let mut forgotten = Vec::new();
        for process in self.0.values_mut() {
            forgotten.extend(
                process
                    .deliveries
                    .extract_if(.., |delivery| delivery.cookie == cookie),
            );
        }
        forgotten
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each user, and how many descriptors are held for it here.
    pub(crate) fn held(&self) -> impl Iterator<Item = (u32, usize)> {
        self.0
            .values()
            .map(|process| (process.user, process.deliveries.len() + 1))
    }
}
