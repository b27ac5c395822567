//! Sockets whose process must be gone before they are ended: it is exiting, and what
//! stdio still holds is written after they were sent. Whether another process goes on
//! with them is looked at then (`looks`).

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use crate::channel::Delivery;
use crate::system::open_process;

#[derive(Default)]
pub(crate) struct Heirs(HashMap<libc::pid_t, Heir>);

/// One process's: one descriptor tells of its end, however many sockets it sent.
pub(crate) struct Heir {
    pub(crate) process: OwnedFd,
    pub(crate) pid: libc::pid_t,
    user: u32,
    deliveries: Vec<Delivery>,
}

/// What is to be done with a socket whose process is exiting.
pub(crate) enum Inherited<'a> {
    /// The process is watched from now on.
    First(&'a Heir),
    /// It was already.
    Another,
    /// It is gone.
    Now(Delivery),
    /// It cannot be watched; the socket is to be closed, which its exit would do too.
    Unwatched(Delivery),
}

impl Heirs {
    pub(crate) fn add(&mut self, delivery: Delivery) -> Inherited<'_> {
        let pid = delivery.sender;
        if let Some(heir) = self.0.get_mut(&pid) {
            heir.deliveries.push(delivery);
            return Inherited::Another;
        }
        match open_process(pid) {
            Ok(process) => {
                let heir = Heir {
                    process,
                    pid,
                    user: delivery.user,
                    deliveries: vec![delivery],
                };
                Inherited::First(self.0.entry(pid).or_insert(heir))
            }
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Inherited::Now(delivery),
            Err(_) => Inherited::Unwatched(delivery),
        }
    }

    /// The sockets of a process that is gone.
    pub(crate) fn take(&mut self, pid: libc::pid_t) -> Vec<Delivery> {
        self.0
            .remove(&pid)
            .map_or(Vec::new(), |heir| heir.deliveries)
    }

    /// Another process has closed that socket, as the last.
    pub(crate) fn forget(&mut self, cookie: u64) -> Vec<Delivery> {
        let mut forgotten = Vec::new();
        for heir in self.0.values_mut() {
            forgotten.extend(
                heir.deliveries
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
            .map(|heir| (heir.user, heir.deliveries.len() + 1))
    }
}
