//! Sockets that stay in a closing state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::finding::{Example, Severity, Who, count, seconds};
use super::{Finding, Observations, Part, Party, Stuck};
use crate::process::Process;
use crate::tuple::State;

/// An application may take this long to close after the peer did.
const PATIENCE: Duration = Duration::from_secs(3);
/// One socket alone is told of after this long.
const LONG: Duration = Duration::from_secs(30);
const SHOWN: usize = 3;

/// Sockets whose peer closed and that nobody closes.
pub(super) fn close_wait(seen: &Observations, found: &mut Vec<Finding>) {
    let leaks = |s: &Stuck| s.state == State::CloseWait && s.held && s.inherited.is_none();
    for (party, sockets) in by_party(seen, leaks) {
        let number = sockets.len() as u64;
        let oldest = oldest(&sockets);
        if number < 3 && oldest < LONG {
            continue;
        }
        let read_eof = sockets.iter().filter(|s| s.rqueue == 0).count() as u64;
        let how = match number - read_eof {
            0 => "it read the end (recv returned 0) and never closed".to_owned(),
            n if n == number => "it has not read the end (recv has not returned 0 yet)".to_owned(),
            n => format!(
                "of {read_eof} it read the end (recv returned 0) and never closed, of {n} it has \
                 not read it"
            ),
        };
        let who = holders(party, &sockets, seen.root);
        let what = format!(
            "{who} holds {} whose {} closed up to {} ago (CLOSE_WAIT); {how}{}",
            count(number, "socket"),
            party.part.peer(),
            seconds(oldest),
            descriptors(&sockets),
        );
        let (why, cure) = words(party.part, read_eof);
        found.push(
            Finding::new(
                "close-wait-leak",
                leak_severity(party.part, number, read_eof, oldest),
                what,
                why,
                cure,
            )
            .by(&who)
            .count(number)
            .examples(examples(&sockets))
            .myth(
                "No sysctl ends CLOSE_WAIT: tcp_fin_timeout is about FIN_WAIT2, and keepalive does \
                 not end a connection whose peer still answers.",
            ),
        );
    }
}

/// A program that has read the end and keeps the socket leaks it. One that has not read
/// it may be busy with the answer, or keep the connection in a pool that it does not look
/// at: both are ordinary, unless they go on.
fn leak_severity(part: Part, number: u64, read_eof: u64, oldest: Duration) -> Severity {
    const POOL: u64 = 100;
    if read_eof >= 3 || read_eof > 0 && oldest >= LONG {
        return Severity::Problem;
    }
    match part {
        Part::Client if number < POOL => Severity::Info,
        _ if oldest >= LONG => Severity::Problem,
        _ => Severity::Warning,
    }
}

fn words(part: Part, read_eof: u64) -> (&'static str, &'static str) {
    match part {
        Part::Client if read_eof == 0 => (
            "The server closed its side, as servers do with idle connections, and the client has \
             not looked since: a pool that checks a connection only when it is wanted again. Each \
             keeps a descriptor, and a request sent on it is lost.",
            "Let the pool look at its idle connections (recv returns 0), or close them before the \
             server's idle timeout does.",
        ),
        Part::Client => (
            "After the server's FIN only this client can end the connection; each such socket keeps a \
             descriptor and its buffers until the process closes it or ends.",
            "Close the socket when recv returns 0 (and on every error path; response bodies and \
             sessions too). Until then a restart of the process frees them.",
        ),
        Part::Server | Part::Unknown => (
            "After the peer's FIN only this process can end the connection; each such socket \
             keeps a descriptor and its buffers until the process closes it or ends.",
            "Close the socket when recv returns 0 (and on every error path). Until then a \
             restart of the process frees them.",
        ),
    }
}

/// Sockets in CLOSE_WAIT that a process was born with and does not use.
pub(super) fn inherited(seen: &Observations, found: &mut Vec<Finding>) {
    let inherited = |s: &Stuck| s.state == State::CloseWait && s.inherited.is_some();
    for (party, sockets) in by_party(seen, inherited) {
        let number = sockets.len() as u64;
        let who = holders(party, &sockets, seen.root);
        let parents: BTreeSet<Process> = sockets
            .iter()
            .filter_map(|s| s.inherited.and_then(|inherited| inherited.from))
            .collect();
        let from = match parents.first() {
            Some(parent) => parent.to_string(),
            None => "the program that started it".to_owned(),
        };
        found.push(
            Finding::new(
                "inherited-descriptor",
                Severity::Problem,
                format!(
                    "{} holds {} whose peer closed up to {} ago (CLOSE_WAIT), and seems to have \
                     inherited {} from {from}: no socket is younger than the process, none is \
                     close-on-exec, and it has read from none{}",
                    who.process(),
                    count(number, "socket"),
                    seconds(oldest(&sockets)),
                    if number == 1 { "it" } else { "them" },
                    descriptors(&sockets),
                ),
                "A program started another one while it had these connections open without \
                 close-on-exec. The new program does not know of them; until it ends, what the first \
                 one closes is not closed: its peer gets no FIN, and the peer's FIN is never answered.",
                "In the program that starts others: open sockets with close-on-exec (SOCK_CLOEXEC, \
                 accept4 with SOCK_CLOEXEC, FD_CLOEXEC), or close what is not meant for the child \
                 between fork and exec (close_range). Until then ending the process that holds them \
                 frees them.",
            )
            .by(&who)
            .count(number)
            .examples(examples(&sockets)),
        );
    }
}

/// Sockets that shut down their side and wait for a peer that does not close.
pub(super) fn fin_wait2(seen: &Observations, found: &mut Vec<Finding>) {
    for (party, sockets) in by_party(seen, |s| s.state == State::FinWait2 && s.held) {
        let oldest = oldest(&sockets);
        let number = sockets.len() as u64;
        if number < 3 && oldest < LONG {
            continue;
        }
        let mut peers: BTreeMap<_, u64> = BTreeMap::new();
        for socket in &sockets {
            *peers.entry(socket.tuple.remote.ip).or_default() += 1;
        }
        let most = peers.iter().max_by_key(|(_, number)| **number);
        let most = most.map_or(String::new(), |(ip, n)| format!(", {n} of them with {ip}"));
        let who = holders(party, &sockets, seen.root);
        found.push(
            Finding::new(
                "fin-wait2-held",
                Severity::Warning,
                format!(
                    "{who} shut down {} up to {} ago and waits for the peer's FIN (FIN_WAIT2){most}{}",
                    count(number, "connection"),
                    seconds(oldest),
                    descriptors(&sockets),
                ),
                "All data and our FIN were acknowledged; the peer has not closed its side. A \
                 socket that still has a descriptor waits without limit. A client that waits for a \
                 slow answer after a half-close looks the same.",
                "Bound the wait for the peer's end (a read timeout after shutdown), then close. \
                 Look at the peer: it may hold these connections in CLOSE_WAIT.",
            )
            .by(&who)
            .count(number)
            .examples(examples(&sockets))
            .myth(
                "tcp_fin_timeout ends FIN_WAIT2 only for sockets already closed, not for those a \
                 process still holds.",
            ),
        );
    }
}

fn by_party(seen: &Observations, which: impl Fn(&Stuck) -> bool) -> BTreeMap<Party, Vec<&Stuck>> {
    let mut parties: BTreeMap<_, Vec<&Stuck>> = BTreeMap::new();
    for socket in seen.stuck.iter().filter(|s| s.age >= PATIENCE && which(s)) {
        parties.entry(socket.party).or_default().push(socket);
    }
    merge_ports(parties)
}

/// A program with many ports is one finding, not one for each.
fn merge_ports(parties: BTreeMap<Party, Vec<&Stuck>>) -> BTreeMap<Party, Vec<&Stuck>> {
    const PORTS: usize = 3;
    let mut ports: BTreeMap<Party, usize> = BTreeMap::new();
    let without = |party: &Party| Party {
        port: None,
        ..*party
    };
    for party in parties.keys() {
        *ports.entry(without(party)).or_default() += 1;
    }
    let mut merged: BTreeMap<Party, Vec<&Stuck>> = BTreeMap::new();
    for (party, sockets) in parties {
        let key = match ports.get(&without(&party)) {
            Some(number) if *number > PORTS => without(&party),
            _ => party,
        };
        merged.entry(key).or_default().extend(sockets);
    }
    for sockets in merged.values_mut() {
        sockets.sort_by_key(|s| std::cmp::Reverse(s.age));
    }
    merged
}

fn holders(party: Party, sockets: &[&Stuck], root: bool) -> Who {
    Who {
        ports: sockets.iter().filter_map(|s| s.party.port).collect(),
        pids: sockets.iter().filter_map(|s| Some(s.owner?.pid)).collect(),
        ..Who::new(party, root)
    }
}

fn oldest(sockets: &[&Stuck]) -> Duration {
    sockets.iter().map(|s| s.age).max().unwrap_or_default()
}

fn examples(sockets: &[&Stuck]) -> Vec<Example> {
    sockets
        .iter()
        .take(SHOWN)
        .map(|socket| Example {
            age_s: Some(socket.age.as_secs()),
            ..Example::of(&socket.tuple, socket.owner.map(|owner| owner.pid))
        })
        .collect()
}

/// `; fds 7–318, 400`, or nothing when none is known.
fn descriptors(sockets: &[&Stuck]) -> String {
    const SHOWN: usize = 6;
    let mut fds: Vec<u32> = sockets.iter().filter_map(|s| s.fd).collect();
    fds.sort_unstable();
    fds.dedup();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for fd in fds.iter().copied() {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == fd => *last = fd,
            _ => ranges.push((fd, fd)),
        }
    }
    if ranges.is_empty() {
        return String::new();
    }
    let mut shown: Vec<String> = ranges
        .iter()
        .take(SHOWN)
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}–{last}"),
        })
        .collect();
    if ranges.len() > SHOWN {
        shown.push("…".to_owned());
    }
    let plural = if fds.len() == 1 { "fd" } else { "fds" };
    format!("; {plural} {}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Comm;
    use crate::tuple::{Endpoint, Tuple};

    fn socket(state: State, fd: u32, age: u64, rqueue: u32) -> Stuck {
        let end = |port| Endpoint::new([10, 0, 0, 1].into(), port);
        Stuck {
            tuple: Tuple {
                local: end(80),
                remote: end(40000),
            },
            state,
            age: Duration::from_secs(age),
            owner: Some(Process {
                pid: 812,
                comm: Comm::from_bytes(b"app"),
            }),
            party: Party {
                name: Some(Comm::from_bytes(b"app")),
                part: Part::Server,
                port: Some(80),
            },
            inherited: None,
            fd: Some(fd),
            held: true,
            rqueue,
            wqueue: 0,
        }
    }

    #[test]
    fn a_leak_is_told_with_owner_age_and_descriptors() {
        let stuck = (7..=318)
            .map(|fd| socket(State::CloseWait, fd, 41, 0))
            .collect();
        let mut found = Vec::new();
        close_wait(
            &Observations {
                stuck,
                ..Observations::default()
            },
            &mut found,
        );
        assert_eq!(
            found[0].what,
            "pid 812 `app` (server, port 80) holds 312 sockets whose client closed up to 41 s ago \
             (CLOSE_WAIT); it read the end (recv returned 0) and never closed; fds 7–318"
        );
    }

    #[test]
    fn a_close_in_progress_is_no_leak() {
        let stuck = (7..=318)
            .map(|fd| socket(State::CloseWait, fd, 1, 0))
            .collect();
        let mut found = Vec::new();
        close_wait(
            &Observations {
                stuck,
                ..Observations::default()
            },
            &mut found,
        );
        assert_eq!(found, []);
    }

    #[test]
    fn an_unread_end_is_told_apart() {
        let stuck = (7..10)
            .map(|fd| socket(State::CloseWait, fd, 41, 1))
            .collect();
        let mut found = Vec::new();
        close_wait(
            &Observations {
                stuck,
                ..Observations::default()
            },
            &mut found,
        );
        assert!(
            found[0].what.contains("has not read the end"),
            "{}",
            found[0].what
        );
    }

    #[test]
    fn a_held_fin_wait2_names_the_peer() {
        let stuck = (7..10)
            .map(|fd| socket(State::FinWait2, fd, 41, 0))
            .collect();
        let mut found = Vec::new();
        fin_wait2(
            &Observations {
                stuck,
                ..Observations::default()
            },
            &mut found,
        );
        assert!(
            found[0].what.contains("3 of them with 10.0.0.1"),
            "{}",
            found[0].what
        );
    }
}
