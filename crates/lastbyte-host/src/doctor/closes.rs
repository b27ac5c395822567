//! Findings from connections that ended.

use std::collections::{BTreeMap, BTreeSet};

use lastbyte::Total;

use super::close::{Act, Close, victims};
use super::finding::{Example, Severity, Victim, Who};
use super::{Finding, Observations, Part, Party};
use crate::process::Comm;

mod words;

/// Examples of one finding.
const SHOWN: usize = 3;
/// A program with more ports than this gets one finding for all of them.
const PORTS: usize = 3;

/// What is wrong with an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    LostToReset,
    LostToLateInput,
    LostToSilence,
    LostToOther,
    UnreadInput,
    CloseNotify,
    ClosedWhilePeerSent { half_closed: bool },
    WroteAfterClose,
    PeerSilent,
    ListenerClosed,
    Aborted,
}

/// Ends that have the same thing wrong with them, of one program and port.
#[derive(Debug, Default)]
struct Group {
    count: u64,
    /// What this end lost, as far as it is known.
    lost: u64,
    /// Ends of which that is not known.
    lost_unknown: u64,
    ports: BTreeSet<u16>,
    pids: BTreeSet<u32>,
    /// The worst: by what was lost at either end.
    worst: Vec<(u64, Example)>,
    victims: BTreeMap<Option<Comm>, Victim>,
    /// What the victims lost.
    victims_lost: Total,
    /// Ends whose other end is not on this host, or has not ended.
    victims_unknown: u64,
    /// How many connections of this program and port ended in all.
    of: u64,
}

/// All that is to be said of ended connections.
pub(super) fn closes(seen: &Observations, found: &mut Vec<Finding>) {
    let groups = merge_ports(group(seen));
    found.extend(
        groups
            .iter()
            .map(|((kind, party), group)| finding(*kind, *party, group, seen)),
    );
}

type Groups = BTreeMap<(Kind, Party), Group>;

fn group(seen: &Observations) -> Groups {
    let victims = victims(&seen.closes);
    let hit: BTreeSet<usize> = victims.iter().flatten().copied().collect();
    let mut groups = Groups::new();
    for (number, close) in seen.closes.iter().enumerate() {
        // Of a victim its aggressor tells.
        if hit.contains(&number) {
            continue;
        }
        let victim = victims[number].map(|victim| &seen.closes[victim]);
        let Some(kind) = kind(close, victim) else {
            continue;
        };
        let group = groups.entry((kind, close.party)).or_default();
        group.add(close, victim);
        // Beyond the limit of what is counted nothing is called frequent.
        let of = seen.endings_of.get(&close.party).copied();
        group.of = of.unwrap_or(u64::MAX);
    }
    groups
}

/// What is wrong with this end, whose RST hit `victim`.
fn kind(close: &Close, victim: Option<&Close>) -> Option<Kind> {
    Some(match close.act {
        Act::ListenerClosed => Kind::ListenerClosed,
        Act::Aborted => Kind::Aborted,
        Act::UnreadInput if is_close_notify(close, victim) => Kind::CloseNotify,
        Act::UnreadInput => Kind::UnreadInput,
        Act::LateInput if close.untold && close.has_lost() => Kind::LostToLateInput,
        Act::LateInput if is_late_close_notify(close, victim) => Kind::CloseNotify,
        Act::LateInput => Kind::ClosedWhilePeerSent {
            half_closed: close.half_closed,
        },
        Act::GivenUp if close.untold && close.has_lost() => Kind::LostToSilence,
        Act::GivenUp => Kind::PeerSilent,
        _ if !close.has_lost() => return None,
        Act::PeerReset if close.peer_closed => Kind::WroteAfterClose,
        _ if !close.untold => return None,
        Act::PeerReset if has_close_notify_size(close.lost) => Kind::CloseNotify,
        Act::PeerReset => Kind::LostToReset,
        Act::Other => Kind::LostToOther,
    })
}

/// The size of a TLS record with a close_notify: 24 bytes in TLS 1.3 (RFC 8446 section
/// 5.2), 31 in TLS 1.2 with an AEAD cipher (RFC 5246 section 6.2.3.3).
fn has_close_notify_size(bytes: Option<u64>) -> bool {
    matches!(bytes, Some(24 | 31))
}

fn lost_no_more_than_close_notify(close: &Close) -> bool {
    close.lost == Some(0) || has_close_notify_size(close.lost)
}

fn is_close_notify(close: &Close, victim: Option<&Close>) -> bool {
    has_close_notify_size(close.unread)
        && close.lost == Some(0)
        && victim.is_none_or(lost_no_more_than_close_notify)
}

/// What arrived too late is known from the other end alone.
fn is_late_close_notify(close: &Close, victim: Option<&Close>) -> bool {
    close.lost == Some(0) && victim.is_some_and(|victim| has_close_notify_size(victim.lost))
}

impl Group {
    fn add(&mut self, close: &Close, victim: Option<&Close>) {
        self.count += 1;
        match close.lost {
            Some(lost) => self.lost += lost,
            None => self.lost_unknown += 1,
        }
        self.ports.extend(close.party.port);
        self.pids.extend(close.pid);
        let mut at_stake = close.lost.unwrap_or(0);
        match victim {
            Some(victim) => {
                at_stake += victim.lost.unwrap_or(0);
                self.hit(victim);
            }
            None => self.victims_unknown += 1,
        }
        let example = Example {
            lost: close.lost,
            unread: close.unread,
            ..Example::of(&close.tuple, close.pid)
        };
        self.worst.push((at_stake, example));
        self.keep_the_worst();
    }

    fn hit(&mut self, close: &Close) {
        self.victims_lost.add(close.lost);
        let name = close.party.name;
        let victim = self.victims.entry(name).or_insert_with(|| Victim {
            program: name,
            pids: Vec::new(),
            connections: 0,
            lost: None,
        });
        victim.connections += 1;
        victim.lost = known_of(victim.lost, close.lost);
        if let Some(pid) = close.pid
            && let Err(at) = victim.pids.binary_search(&pid)
        {
            victim.pids.insert(at, pid);
        }
    }

    fn keep_the_worst(&mut self) {
        self.worst.sort_by_key(|(lost, _)| std::cmp::Reverse(*lost));
        self.worst.truncate(SHOWN);
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.lost += other.lost;
        self.lost_unknown += other.lost_unknown;
        self.ports.extend(other.ports);
        self.pids.extend(other.pids);
        self.worst.extend(other.worst);
        self.keep_the_worst();
        for (name, victim) in other.victims {
            let Some(mine) = self.victims.get_mut(&name) else {
                self.victims.insert(name, victim);
                continue;
            };
            mine.connections += victim.connections;
            mine.lost = known_of(mine.lost, victim.lost);
            let pids: BTreeSet<u32> = mine.pids.iter().chain(&victim.pids).copied().collect();
            mine.pids = pids.into_iter().collect();
        }
        self.victims_lost += other.victims_lost;
        self.victims_unknown += other.victims_unknown;
        self.of = self.of.saturating_add(other.of);
    }

    /// Whether it happens to one in a hundred of the program's connections, or more.
    fn is_often(&self) -> bool {
        self.count.saturating_mul(100) >= self.of
    }
}

/// A program that does the same on many ports is one finding.
fn merge_ports(groups: Groups) -> Groups {
    let without = |party: Party| Party {
        port: None,
        ..party
    };
    let mut ports: BTreeMap<(Kind, Party), usize> = BTreeMap::new();
    for (kind, party) in groups.keys() {
        *ports.entry((*kind, without(*party))).or_default() += 1;
    }
    let mut merged = Groups::new();
    for ((kind, party), group) in groups {
        let many = ports
            .get(&(kind, without(party)))
            .is_some_and(|n| *n > PORTS);
        let key = if many { without(party) } else { party };
        merged.entry((kind, key)).or_default().merge(group);
    }
    merged
}

fn finding(kind: Kind, party: Party, group: &Group, seen: &Observations) -> Finding {
    let who = Who {
        ports: group.ports.clone(),
        pids: group.pids.clone(),
        ..Who::new(party, seen.root)
    };
    let words = words::of(kind, &who, group, seen);
    let mut finding = Finding::new(
        words.id,
        severity(kind, party.part, group),
        words.what,
        words.why,
        words.cure,
    )
    .by(&who)
    .count(group.count)
    .lost((group.lost_unknown < group.count).then_some(group.lost))
    .examples(
        group
            .worst
            .iter()
            .map(|(_, example)| example.clone())
            .collect(),
    );
    finding.myth = words.myth;
    finding.victims = group.victims.values().cloned().collect();
    finding
}

/// The sum of what is known of two; `None` where that is nothing.
fn known_of(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.map_or(other, |one| Some(one + other.unwrap_or(0)))
}

fn severity(kind: Kind, part: Part, group: &Group) -> Severity {
    let if_often = if group.is_often() {
        Severity::Problem
    } else {
        Severity::Warning
    };
    match kind {
        Kind::LostToReset | Kind::LostToLateInput | Kind::LostToSilence | Kind::LostToOther => {
            if_often
        }
        Kind::UnreadInput if group.lost > 0 => if_often,
        Kind::UnreadInput if part == Part::Client => Severity::Info,
        Kind::UnreadInput if group.victims_lost.known > 0 => if_often,
        Kind::UnreadInput => Severity::Warning,
        // A client that leaves early has given up.
        Kind::ClosedWhilePeerSent { half_closed: false } if part == Part::Client => Severity::Info,
        Kind::ClosedWhilePeerSent { .. } if group.victims_lost.known > 0 => if_often,
        // What came is not known: on a TLS port it may be a close_notify.
        Kind::ClosedWhilePeerSent { .. } => Severity::Warning,
        // The client left while it was served.
        Kind::WroteAfterClose if part == Part::Server => Severity::Info,
        Kind::WroteAfterClose => if_often,
        // Clients of a server come and go, by way of tunnels and dead batteries too.
        Kind::PeerSilent if part == Part::Server => Severity::Info,
        Kind::PeerSilent => Severity::Warning,
        Kind::ListenerClosed => Severity::Problem,
        Kind::Aborted if group.lost > 0 || group.victims_lost.known > 0 => Severity::Warning,
        Kind::Aborted | Kind::CloseNotify => Severity::Info,
    }
}

#[cfg(test)]
mod tests;
