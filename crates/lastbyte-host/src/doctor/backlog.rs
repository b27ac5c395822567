//! Connections that nobody accepts, and backlogs that are full.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::finding::{Example, Severity, Who, count, seconds};
use super::{Finding, Listener, Observations, Part, Party, Stuck};
use crate::process::Process;
use crate::tuple::State;

/// A connection may wait this long to be accepted.
const PATIENCE: Duration = Duration::from_secs(3);
const SHOWN: usize = 3;

/// Connections that lie in a listener's backlog.
pub(super) fn nobody_accepts(seen: &Observations, found: &mut Vec<Finding>) {
    let mut waiting: BTreeMap<u16, Vec<&Stuck>> = BTreeMap::new();
    for socket in seen.stuck.iter().filter(|s| s.is_unaccepted()) {
        let port = socket.tuple.local.port;
        waiting.entry(port).or_default().push(socket);
    }
    for (port, mut sockets) in waiting {
        sockets.sort_by_key(|s| std::cmp::Reverse(s.age));
        let oldest = sockets.first().map_or(Duration::ZERO, |s| s.age);
        if oldest < PATIENCE {
            continue;
        }
        let listeners: Vec<&Listener> = seen
            .listeners
            .iter()
            .filter(|l| sockets.iter().any(|s| l.takes(s.tuple.local)))
            .collect();
        // Without a queue they are something else (or the listener was not asked for).
        if listeners.iter().all(|listener| listener.queued == 0) {
            continue;
        }
        let who = owners(&listeners, port, seen.root);
        let backlog: u32 = listeners.iter().map(|l| l.backlog).sum();
        let gone = sockets.iter().filter(|s| s.state == State::CloseWait);
        let gone = gone.count() as u64;
        // An unread FIN takes a place in the queue.
        let unread: u64 = sockets
            .iter()
            .map(|s| u64::from(s.rqueue) - u64::from(s.state == State::CloseWait && s.rqueue > 0))
            .sum();
        let given_up = match gone {
            0 => String::new(),
            _ => format!("; the clients of {gone} have closed already"),
        };
        found.push(
            Finding::new(
                "nobody-accepts",
                Severity::Problem,
                format!(
                    "{who} does not accept: {} in its backlog (of {backlog}), for up to \
                     {}, with {} unread{given_up}",
                    wait(sockets.len() as u64),
                    seconds(oldest),
                    count(unread, "byte"),
                ),
                "The kernel completes handshakes on its own: the clients believe they are connected \
                 and have sent their requests, but no accept() has taken the connections, so no \
                 process holds them yet.",
                "Look at what the program waits for instead of accepting: a limit of descriptors \
                 (EMFILE at accept, see its `ulimit -n`), a deadlock, no free worker. Closing the \
                 listener, or a restart, resets what waits.",
            )
            .by(&who)
            .count(sockets.len() as u64)
            .examples(sockets.iter().take(SHOWN).map(|s| example(s)).collect()),
        );
    }
}

fn wait(number: u64) -> String {
    match number {
        1 => "1 connection waits".to_owned(),
        _ => format!("{number} connections wait"),
    }
}

fn example(socket: &Stuck) -> Example {
    Example {
        age_s: Some(socket.age.as_secs()),
        ..Example::of(&socket.tuple, None)
    }
}

/// Who holds these listeners of one port.
fn owners(listeners: &[&Listener], port: u16, root: bool) -> Who {
    let owners: BTreeSet<Process> = listeners.iter().filter_map(|l| l.owner).collect();
    let name = owners
        .first()
        .map(|process| process.comm)
        .filter(|comm| !comm.is_empty());
    let party = Party {
        name,
        part: Part::Server,
        port: Some(port),
    };
    Who {
        pids: owners.iter().map(|process| process.pid).collect(),
        ..Who::new(party, root)
    }
}

/// Connection attempts that were dropped because a backlog was full.
pub(super) fn overflow(seen: &Observations, found: &mut Vec<Finding>) {
    let overflows = seen.grown("TcpExt.ListenOverflows");
    let full: Vec<&Listener> = seen
        .listeners
        .iter()
        .filter(|l| l.queued > l.backlog)
        .collect();
    if overflows == 0 && full.is_empty() {
        return;
    }
    let now: Vec<String> = full
        .iter()
        .take(SHOWN)
        .map(|listener| {
            format!(
                "port {} of {} ({} queued, backlog {})",
                listener.on.port,
                owners(&[listener], listener.on.port, seen.root).process(),
                listener.queued,
                listener.backlog
            )
        })
        .collect();
    let more = match full.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let now = match now.is_empty() {
        true => String::new(),
        false => format!("; full now: {}{more}", now.join(", ")),
    };
    let mut finding = Finding::new(
        "backlog-overflow",
        Severity::Warning,
        format!(
            "{} (repeats included) dropped because a listener's backlog was full{now}",
            match overflows {
                1 => "1 connection attempt".to_owned(),
                _ => format!("{overflows} connection attempts"),
            }
        ),
        "The application accepts more slowly than clients connect. The dropped ACK makes the \
         client wait and retransmit; with tcp_abort_on_overflow=1 it gets an RST.",
        "Accept faster (more acceptors, no work between accepts) or raise the backlog given to \
         listen() together with net.core.somaxconn.",
    )
    .count(overflows);
    finding.ports = full.iter().map(|listener| listener.on.port).collect();
    found.push(finding);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Comm;
    use crate::tuple::{Endpoint, Tuple};

    fn waits(state: State, age: u64, rqueue: u32) -> Stuck {
        let end = |port| Endpoint::new([10, 0, 0, 1].into(), port);
        Stuck {
            tuple: Tuple {
                local: end(80),
                remote: end(40000),
            },
            state,
            age: Duration::from_secs(age),
            owner: None,
            party: Party::default(),
            fd: None,
            held: false,
            inherited: None,
            rqueue,
            wqueue: 0,
        }
    }

    fn seen(stuck: Vec<Stuck>) -> Observations {
        let owner = Process {
            pid: 7,
            comm: Comm::from_bytes(b"app"),
        };
        Observations {
            root: true,
            stuck,
            listeners: vec![Listener {
                on: Endpoint::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 80),
                queued: 2,
                backlog: 20,
                owner: Some(owner),
            }],
            ..Observations::default()
        }
    }

    #[test]
    fn what_waits_in_a_backlog_belongs_to_its_listener() {
        let stuck = vec![
            waits(State::CloseWait, 8, 211),
            waits(State::Established, 5, 30),
        ];
        let mut found = Vec::new();
        nobody_accepts(&seen(stuck), &mut found);
        assert_eq!(
            found[0].what,
            "pid 7 `app` (server, port 80) does not accept: 2 connections wait in its backlog (of \
             20), for up to 8 s, with 240 bytes unread; the clients of 1 have closed already"
        );
        assert_eq!(found[0].severity, Severity::Problem);
    }

    #[test]
    fn without_a_listener_that_has_a_queue_nobody_is_accused() {
        let mut seen = seen(vec![waits(State::Established, 8, 30)]);
        seen.listeners[0].queued = 0;
        let mut found = Vec::new();
        nobody_accepts(&seen, &mut found);
        seen.listeners.clear();
        nobody_accepts(&seen, &mut found);
        assert_eq!(found, []);
    }

    #[test]
    fn a_moment_in_the_backlog_is_no_fault() {
        let mut found = Vec::new();
        nobody_accepts(&seen(vec![waits(State::Established, 2, 30)]), &mut found);
        assert_eq!(found, []);
    }
}
