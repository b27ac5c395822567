//! Sockets that are ended later: when the process that sent them is gone, and only if
//! no other process of the run goes on with them.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use lastbyte_handoff::flag;

use crate::channel::{self, Delivery};
use crate::family;

/// When it is looked for holders once the process is gone. The second look is for a
/// process that was told of the first holder just before that was gone, and closes.
const AFTER_EXIT: &[Duration] = &[Duration::ZERO, Duration::from_millis(100)];
/// The same where the process becomes another program, whose exec may fail.
const AFTER_EXEC: &[Duration] = &[
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

/// A socket, and which one it is.
struct Heir {
    cookie: Option<u64>,
    delivery: Delivery,
}

struct Look {
    at: Instant,
    later: &'static [Duration],
    heir: Heir,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Heirs {
    waiting: Vec<(OwnedFd, Heir)>,
    looks: Vec<Look>,
}

impl Heirs {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.looks.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Readable once it is gone, in the order that [`due`](Self::due) is told.
    pub(crate) fn processes(&self) -> impl Iterator<Item = RawFd> {
        self.waiting.iter().map(|(process, _)| process.as_raw_fd())
    }

    /// When to call [`due`](Self::due) at the latest.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.looks.iter().map(|look| look.at).min()
    }

    /// To be ended when the process is gone.
    pub(crate) fn add(&mut self, process: OwnedFd, delivery: Delivery) {
        self.waiting.push((process, Heir::new(delivery)));
    }

    /// To be ended when no process of the run holds it, which is soon or never.
    pub(crate) fn add_unless_held(&mut self, delivery: Delivery) {
        self.looks
            .extend(Look::new(Heir::new(delivery), AFTER_EXEC));
    }

    /// Another process has closed that socket, as the last.
    pub(crate) fn forget(&mut self, cookie: u64) {
        self.waiting.retain(|(_, heir)| heir.cookie != Some(cookie));
        self.looks.retain(|look| look.heir.cookie != Some(cookie));
    }

    /// What is to be ended now; `gone` says which of the processes are.
    pub(crate) fn due(&mut self, gone: &[bool]) -> Vec<Delivery> {
        let mut ended = Vec::new();
        for (index, (process, heir)) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            if gone.get(index) != Some(&true) {
                self.waiting.push((process, heir));
            } else if heir.delivery.request.flags & flag::MAY_BE_HELD != 0 {
                self.looks.extend(Look::new(heir, AFTER_EXIT));
            } else {
                ended.push(heir.delivery);
            }
        }
        ended.extend(self.look());
        ended
    }

    /// One look through the run for all that are due.
    fn look(&mut self) -> Vec<Delivery> {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.looks)
            .into_iter()
            .partition(|look| look.at <= now);
        self.looks = later;
        let due: Vec<Look> = due;
        if due.is_empty() {
            return Vec::new();
        }
        let wanted = due.iter().filter_map(|look| look.heir.inode()).collect();
        let held: Option<HashSet<u64>> = family::held(&wanted);
        let mut ended = Vec::new();
        let mut seen = HashSet::new();
        for look in due {
            let is_held = match (look.heir.inode(), &held) {
                (Some(inode), Some(held)) => held.contains(&inode),
                // It cannot be excluded.
                _ => true,
            };
            if !is_held {
                // A process can have sent one socket by several descriptors.
                if look.heir.cookie.is_none_or(|cookie| seen.insert(cookie)) {
                    ended.push(look.heir.delivery);
                }
            } else {
                self.looks.extend(Look::new(look.heir, look.later));
            }
        }
        ended
    }
}

impl Heir {
    fn new(delivery: Delivery) -> Self {
        let socket = delivery.socket.as_ref();
        let cookie = socket.and_then(|socket| channel::cookie(socket.as_raw_fd()).ok());
        Self { cookie, delivery }
    }

    fn inode(&self) -> Option<u64> {
        let socket = self.delivery.socket.as_ref()?;
        channel::inode(socket).ok()
    }
}

impl Look {
    /// `None` after the last look: whoever holds it closes it.
    fn new(heir: Heir, times: &'static [Duration]) -> Option<Self> {
        let (first, later) = times.split_first()?;
        Some(Self {
            at: Instant::now() + *first,
            later,
            heir,
        })
    }
}
