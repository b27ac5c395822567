//! The endings under way, and what is known of those that are over.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lastbyte::{CloseError, Report};
use lastbyte_run_protocol::Request;

use crate::channel::{Delivery, Mapping, close_without_lingering};
use crate::connections::Connections;
use crate::log::Log;
use crate::record::{self, Known, Line, Origin, Sums};

/// What the closer's thread writes and we read.
pub(crate) struct Ledger {
    pub(crate) mapping: Mapping,
    pub(crate) observed: bool,
    /// Written to when the closer is idle.
    pub(crate) waker: OwnedFd,
    /// Whether the loop waits for room.
    pub(crate) is_awaited: AtomicBool,
    /// Sockets of processes that are gone, which no process was found to hold: the loop
    /// ends them once it knows of every close before.
    pub(crate) unheld: Mutex<Vec<Delivery>>,
    /// A thread waits for the closers to be idle.
    pub(crate) is_idle_awaited: AtomicBool,
    /// Nobody looks for uncovered programs any more.
    pub(crate) is_over: AtomicBool,
    pub(crate) entries: Mutex<Entries>,
}

#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) next: u64,
    pub(crate) open: HashMap<u64, (Origin, Instant)>,
    /// Lines of connections whose fate is known, and that are held for late input.
    pub(crate) uncounted: HashMap<u64, Line>,
    /// The cookies of the connections that the closer has.
    pub(crate) ending: HashSet<u64>,
    /// What the kernel closes.
    pub(crate) connections: Connections,
    pub(crate) sums: Sums,
    pub(crate) log: Option<Log>,
    /// Programs that no shim is in, and how that was noticed.
    pub(crate) uncovered: Vec<String>,
}

impl Entries {
    fn write(&mut self, line: Line) {
        self.sums.add(&line.fate);
        if let Some(log) = &mut self.log {
            log.write(line);
        }
    }

    /// Writes the lines of what is held still, whose input nobody counts to the end.
    pub(crate) fn write_uncounted(&mut self) {
        let uncounted = std::mem::take(&mut self.uncounted);
        for mut line in uncounted.into_values() {
            if let Known::Report(report) = &mut line.fate {
                report.unread = None;
            }
            self.write(line);
        }
    }
}

impl Ledger {
    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        // A panic in between leaves counts that are still counts.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, origin: Origin, cookie: u64) -> u64 {
        let mut entries = self.entries();
        entries.ending.insert(cookie);
        entries.connections.handed_over(cookie);
        entries.next += 1;
        let number = entries.next;
        entries.open.insert(number, (origin, Instant::now()));
        number
    }

    /// A fate is known: the caller is answered. The program called close so long `before`
    /// the closer began. It is written down when all input is [counted](Self::counted).
    pub(crate) fn settle(
        &self,
        number: u64,
        cookie: u64,
        request: &Request,
        before: Duration,
        result: Result<Report, CloseError>,
    ) {
        let (answer, mut report) = match result {
            Ok(report) => (0, Some(report)),
            Err(error) => {
                let report = error.report().copied();
                let answer = if report.is_some() {
                    error.errno().map_or(0, |errno| errno.raw())
                } else {
                    0
                };
                // A socket that was refused, or found no room: closed without the wait
                // that its linger option may ask for.
                if let Ok(socket) = error.into_socket() {
                    close_without_lingering(socket);
                }
                (answer, report)
            }
        };
        self.mapping.answer(request, answer);
        if let Some(report) = &mut report {
            report.elapsed = report.elapsed.saturating_add(before);
        }
        let mut entries = self.entries();
        entries.ending.remove(&cookie);
        if let Some((origin, _)) = entries.open.remove(&number)
            && let Some(report) = report
        {
            let line = Line {
                time: record::timestamp(),
                origin,
                fate: Known::Report(report),
            };
            entries.uncounted.insert(number, line);
        }
    }

    /// The connection is not held for late input any more, which is all in `input`; `None`
    /// where that is not known.
    pub(crate) fn counted(&self, number: u64, input: Option<u64>) {
        let mut entries = self.entries();
        if let Some(mut line) = entries.uncounted.remove(&number) {
            if let Known::Report(report) = &mut line.fate {
                report.unread = report.unread.and(input);
            }
            entries.write(line);
        }
    }

    /// Has the supervisor look again, if it waits for room.
    pub(crate) fn wake_if_awaited(&self) {
        if self.is_awaited.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    pub(crate) fn write(&self, entries: &mut Entries, origin: Origin, fate: Known) {
        entries.write(Line {
            time: record::timestamp(),
            origin,
            fate,
        });
    }

    pub(crate) fn unheld(&self) -> MutexGuard<'_, Vec<Delivery>> {
        self.unheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes, as an eventfd wants.
        unsafe { libc::write(self.waker.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    pub(crate) fn was_woken(&self) -> bool {
        let mut count = [0; 8];
        // SAFETY: room for eight bytes.
        unsafe {
            libc::read(
                self.waker.as_raw_fd(),
                count.as_mut_ptr().cast(),
                count.len(),
            ) == 8
        }
    }
}
