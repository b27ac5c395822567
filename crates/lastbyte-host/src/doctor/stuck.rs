//! Sockets that stay in a closing state.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Finding, Observations, Stuck, count, seconds, who};
use crate::process::Process;
use crate::tuple::State;

/// An application may take this long to close after the peer did.
const PATIENCE: Duration = Duration::from_secs(3);
/// One socket alone is told of after this long.
const LONG: Duration = Duration::from_secs(30);

/// Sockets whose peer closed and that nobody closes.
pub(super) fn close_wait(seen: &Observations, found: &mut Vec<Finding>) {
    for (owner, sockets) in by_owner(seen, |s| s.state == State::CloseWait) {
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
                "of {read_eof} it read the end (recv returned 0) and never closed, of {n} it has not read it"
            ),
        };
        let one = if number == 1 { "socket" } else { "sockets" };
        let what = format!(
            "{} holds {number} {one} whose peer closed up to {} ago (CLOSE_WAIT); {how}{}",
            who(owner),
            seconds(oldest),
            descriptors(&sockets),
        );
        found.push(
            Finding::new(
                "close-wait-leak",
                what,
                "After the peer's FIN only this process can end the connection; each such socket \
                 keeps a descriptor and its buffers until the process closes it or ends.",
                "Close the socket when recv returns 0 (and on every error path). Until then a \
                 restart of the process frees them.",
            )
            .myth(
                "No sysctl ends CLOSE_WAIT: tcp_fin_timeout is about FIN_WAIT2, and keepalive does \
                 not end a connection whose peer still answers.",
            ),
        );
    }
}

/// Sockets that shut down their side and wait for a peer that does not close.
pub(super) fn fin_wait2(seen: &Observations, found: &mut Vec<Finding>) {
    for (owner, sockets) in by_owner(seen, |s| s.state == State::FinWait2 && s.held) {
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
        found.push(
            Finding::new(
                "fin-wait2-held",
                format!(
                    "{} shut down {} up to {} ago and waits for the peer's FIN (FIN_WAIT2){most}{}",
                    who(owner),
                    count(number, "connection"),
                    seconds(oldest),
                    descriptors(&sockets),
                ),
                "All data and our FIN were acknowledged; the peer has not closed its side. A \
                 socket that still has a descriptor waits without limit.",
                "Bound the wait for the peer's end (a read timeout after shutdown), then close. \
                 Look at the peer: it may hold these connections in CLOSE_WAIT.",
            )
            .myth(
                "tcp_fin_timeout ends FIN_WAIT2 only for sockets already closed, not for those a \
                 process still holds.",
            ),
        );
    }
}

fn by_owner(
    seen: &Observations,
    which: impl Fn(&Stuck) -> bool,
) -> BTreeMap<Option<Process>, Vec<&Stuck>> {
    let mut owners: BTreeMap<_, Vec<&Stuck>> = BTreeMap::new();
    for socket in seen.stuck.iter().filter(|s| s.age >= PATIENCE && which(s)) {
        owners.entry(socket.owner).or_default().push(socket);
    }
    owners
}

fn oldest(sockets: &[&Stuck]) -> Duration {
    sockets.iter().map(|s| s.age).max().unwrap_or_default()
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
            "pid 812 `app` holds 312 sockets whose peer closed up to 41 s ago (CLOSE_WAIT); it \
             read the end (recv returned 0) and never closed; fds 7–318"
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
