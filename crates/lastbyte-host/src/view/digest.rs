//! What has come since the view took it last: bounded, whatever comes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lastbyte::{Fate, Side, Total};

use super::{CLOSERS, Filter, LATEST, PROCESSES, STUCK, StuckRow, Tally, Waiting};
use crate::ending::{Ending, Rst};
use crate::losses::Losses;
use crate::process::Process;
use crate::time_wait::{Direction, TimeWait};
use crate::tuple::State;
use crate::watch::Watcher;

/// Endings by fate; the last slot is for unknown fates.
pub(super) type ByFate = [u64; 9];

/// Sums over endings.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) by_fate: ByFate,
    pub(super) lost: Total,
    pub(super) unread: Total,
    pub(super) acked: Total,
    pub(super) received: Total,
    pub(super) tallies: HashMap<Process, Tally>,
}

impl Sums {
    fn ending(&mut self, ending: &Ending) {
        let slot = ending
            .fate
            .and_then(|fate| Fate::ALL.iter().position(|f| *f == fate))
            .unwrap_or(8);
        self.by_fate[slot] += 1;
        let bytes = &ending.bytes;
        for (sum, number) in [
            (&mut self.lost, bytes.lost),
            (&mut self.unread, bytes.unread),
            (&mut self.acked, bytes.acked),
            (&mut self.received, bytes.received),
        ] {
            sum.add(number);
        }
        if let Some(process) = ending.owner.or(ending.closer) {
            add(&mut self.tallies, process, Tally::of(ending));
        }
    }

    /// Adds others.
    pub(super) fn add(&mut self, more: Self) {
        for (sum, number) in self.by_fate.iter_mut().zip(more.by_fate) {
            *sum += number;
        }
        self.lost += more.lost;
        self.unread += more.unread;
        self.acked += more.acked;
        self.received += more.received;
        for (process, tally) in more.tallies {
            add(&mut self.tallies, process, tally);
        }
    }
}

/// Collects endings and tables for the [`Model`](super::Model), from another thread.
#[derive(Debug, Default)]
pub struct Digest {
    pub(super) filter: Filter,
    /// Of every ending.
    pub(super) all: Sums,
    /// Of those that the filter admits.
    pub(super) admitted: Sums,
    /// The newest first.
    pub(super) latest: VecDeque<Ending>,
    pub(super) closers: HashMap<Direction, Process>,
    pub(super) tables: Option<Tables>,
}

impl Digest {
    /// Adds an ending; `listens` says whether something listens on its local port.
    pub fn ending(&mut self, ending: Ending, listens: bool) {
        self.all.ending(&ending);
        if ending.closed_first == Some(Side::Local)
            && let Some(process) = ending.closer.or(ending.owner)
            && self.closers.len() < CLOSERS
        {
            let direction = Direction::of(&ending.tuple, listens);
            self.closers.insert(direction, process);
        }
        if self.filter.admits(&ending) {
            self.admitted.ending(&ending);
            self.latest.truncate(LATEST - 1);
            self.latest.push_front(ending);
        }
    }

    /// Returns the filter that the screen has asked for.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Takes all there is, for the screen. Of the endings to come, those that `filter`
    /// admits are kept.
    #[must_use]
    pub fn take(&mut self, filter: &Filter) -> Self {
        let empty = Self {
            filter: filter.clone(),
            ..Self::default()
        };
        std::mem::replace(self, empty)
    }

    /// Takes all there is, to add to it without holding a lock.
    #[must_use]
    pub fn take_out(&mut self) -> Self {
        let filter = self.filter.clone();
        self.take(&filter)
    }

    /// Puts back what was taken out; what the screen wants may have changed
    /// meanwhile. What was there, an empty digest, is left to the caller to drop.
    #[must_use]
    pub fn put_back(&mut self, mut digest: Self) -> Self {
        if digest.filter != self.filter {
            // The sums of the new filter begin after this.
            digest.admitted = Sums::default();
        }
        digest.filter = std::mem::take(&mut self.filter);
        std::mem::replace(self, digest)
    }

    /// Replaces the tables.
    pub fn tables(&mut self, tables: Tables) {
        self.tables = Some(tables);
    }
}

impl Tally {
    fn of(ending: &Ending) -> Self {
        let by = |side| matches!(ending.rst, Some(Rst::By { side: s, .. }) if s == side);
        Self {
            lost: [ending.bytes.lost].into_iter().collect(),
            resets_sent: by(Side::Local).into(),
            resets_got: by(Side::Peer).into(),
            endings: 1,
        }
    }
}

/// Adds to the tally of a process; the least of them make room.
pub(super) fn add(tallies: &mut HashMap<Process, Tally>, process: Process, more: Tally) {
    if tallies.len() >= PROCESSES && !tallies.contains_key(&process) {
        let least = tallies
            .iter()
            .min_by_key(|(_, t)| (t.lost.known, t.resets_sent + t.resets_got, t.endings))
            .map(|(process, _)| *process);
        least.map(|process| tallies.remove(&process));
    }
    let tally = tallies.entry(process).or_default();
    tally.endings += more.endings;
    tally.lost += more.lost;
    tally.resets_sent += more.resets_sent;
    tally.resets_got += more.resets_got;
}

/// What the tables of living sockets show.
#[derive(Debug)]
pub struct Tables {
    pub(super) filter: Filter,
    pub(super) stuck: Vec<StuckRow>,
    pub(super) stuck_in_all: usize,
    pub(super) waiting: Vec<Waiting>,
    pub(super) waiting_in_all: u64,
    pub(super) losses: Losses,
}

impl Tables {
    /// Lists the closing sockets and TIME_WAIT, as far as the filter admits them.
    #[must_use]
    pub fn new(watcher: &Watcher, time_wait: &TimeWait, filter: &Filter) -> Self {
        let mut waiting: Vec<_> = time_wait
            .directions
            .iter()
            .filter(|(_, sockets)| sockets.waiting > 0)
            .map(|((_, direction), sockets)| Waiting {
                direction: *direction,
                number: sockets.waiting,
                left: sockets.left,
                closer: None,
            })
            .filter(|waiting| filter.admits_port(&waiting.ports()))
            .collect();
        waiting.sort_by_key(|w| std::cmp::Reverse(w.number));
        let waiting_in_all = waiting.iter().map(|w| w.number).sum();
        waiting.truncate(STUCK);
        let mut stuck: Vec<_> = watcher
            .tracker()
            .living()
            .filter(|(_, s)| {
                matches!(
                    s.state,
                    State::CloseWait
                        | State::FinWait1
                        | State::FinWait2
                        | State::LastAck
                        | State::Closing
                )
            })
            .map(|(_, s)| StuckRow {
                state: s.state,
                age: s.age(),
                owner: s.owner,
                held: s.inode != 0,
                tuple: s.tuple,
                queued: s.wqueue,
            })
            .filter(|row| row.age >= Duration::from_secs(1))
            .filter(|row| {
                let ports = [row.tuple.local.port, row.tuple.remote.port];
                filter.admits_socket(&ports, row.owner.map(|(process, _)| process))
            })
            .collect();
        stuck.sort_by_key(|row| std::cmp::Reverse(row.age));
        let stuck_in_all = stuck.len();
        stuck.truncate(STUCK);
        Self {
            filter: filter.clone(),
            stuck,
            stuck_in_all,
            waiting,
            waiting_in_all,
            losses: watcher.losses(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ending::{Bytes, Evidence};
    use crate::process::Comm;
    use crate::tuple::{Endpoint, Tuple};

    fn ending(number: u32) -> Ending {
        let end = |port| Endpoint::new(std::net::Ipv4Addr::from(number + 1).into(), port);
        Ending {
            time: std::time::UNIX_EPOCH,
            opened: None,
            tuple: Tuple {
                local: end(1),
                remote: end(2),
            },
            owner: Some(Process {
                pid: number,
                comm: Comm::default(),
            }),
            closer: None,
            fate: Some(Fate::Confirmed),
            error: None,
            closed_first: Some(Side::Local),
            rst: None,
            bytes: Bytes {
                lost: Some(number.into()),
                ..Bytes::default()
            },
            states: None,
            evidence: Evidence::Observed,
            mptcp: None,
            netns: None,
            cgroup: None,
            manner: crate::ending::Manner::default(),
        }
    }

    #[test]
    fn it_is_bounded_and_forgets_no_ending_in_its_sums() {
        let mut digest = Digest::default();
        for number in 0..10_000 {
            digest.ending(ending(number), false);
        }
        assert_eq!(digest.all.by_fate.iter().sum::<u64>(), 10_000);
        assert_eq!(digest.latest.len(), LATEST);
        assert_eq!(digest.latest[0], ending(9_999));
        assert_eq!(digest.all.tallies.len(), PROCESSES);
        let most = digest.all.tallies.keys().map(|process| process.pid).max();
        assert_eq!(most, Some(9_999));
        assert_eq!(digest.closers.len(), CLOSERS);
    }

    #[test]
    fn what_the_screen_wants_outlives_an_exchange() {
        let mut shared = Digest::default();
        let mut out = shared.take_out();
        let wanted = Filter::parse("pid:7").expect("a filter");
        // Meanwhile the screen takes what is there, nothing, and wants less.
        assert_eq!(shared.take(&wanted).all.by_fate, [0; 9]);
        out.ending(ending(6), false);
        assert_eq!(shared.put_back(out).all.by_fate, [0; 9]);
        let mut out = shared.take_out();
        (6..9).for_each(|number| out.ending(ending(number), false));
        let _ = shared.put_back(out);
        let news = shared.take(&wanted);
        assert_eq!(news.all.by_fate.iter().sum::<u64>(), 4);
        // The first was told before it was known what the screen wants.
        assert_eq!(news.admitted.by_fate.iter().sum::<u64>(), 1);
        assert_eq!(news.admitted.lost.exact(), Some(7));
        let pids: Vec<_> = news.latest.iter().map(|e| e.owner.map(|p| p.pid)).collect();
        assert_eq!(pids, [Some(7), Some(6)]);
    }
}
