//! TIME_WAIT: when it matters, and when it only looks as if it did.

use super::finding::{Severity, Who, count};
use super::{Finding, Observations, Part, Party, TimeWaitCounts};
use crate::time_wait::Direction;

const MYTH: &str = "tcp_fin_timeout does not shorten TIME_WAIT (it is about FIN_WAIT2), \
     tcp_tw_recycle is gone since Linux 4.12, and SO_LINGER on with zero avoids TIME_WAIT by \
     discarding data and resetting the peer.";

/// The length of TIME_WAIT, `TCP_TIMEWAIT_LEN` in `include/net/tcp.h`.
const LENGTH_S: f64 = 60.0;

/// Ports that run out toward one destination.
pub(super) fn exhaustion(seen: &Observations, found: &mut Vec<Finding>) {
    // How many there are has to be known.
    let Some(ports) = seen.ports else { return };
    let ports = ports.count() as f64;
    for (direction, time_wait) in &seen.time_wait {
        let Direction::Out { from, to } = direction else {
            continue;
        };
        // 1: reused by any new connection; 2: on loopback only.
        let reused = match seen.tw_reuse {
            Some(1) => true,
            Some(2) => from.is_loopback(),
            _ => false,
        };
        if reused {
            continue;
        }
        let used = time_wait.after as f64;
        let growth = per_second(seen, time_wait);
        let seconds_left = (ports - used).max(0.0) / growth;
        // What goes on for the length of TIME_WAIT at this rate, has to fit.
        let nearly = used >= ports * 0.8;
        let heading = growth > 0.0 && used + growth * LENGTH_S > ports && seconds_left < 600.0;
        if !nearly && !heading {
            continue;
        }
        let when = when_none_is_left(used, ports, growth);
        let who = closer(seen, time_wait, Part::Client, to.port);
        found.push(
            Finding::new(
                "time-wait-exhaustion",
                Severity::Problem,
                format!(
                    "{} of {ports:.0} local ports toward {to} are in TIME_WAIT; {when}. {} closes \
                     first",
                    time_wait.after,
                    who.process(),
                ),
                "Whoever closes first keeps the pair of ends for 60 s in TIME_WAIT; toward one \
                 destination each connection needs a local port of its own.",
                "Keep connections open and reuse them (a pool, HTTP keep-alive), or let the peer \
                 close first. Else: net.ipv4.tcp_tw_reuse=1, a wider ip_local_port_range, more \
                 addresses on either side, IP_BIND_ADDRESS_NO_PORT where bind comes before \
                 connect.",
            )
            .by(&who)
            .count(time_wait.after)
            .myth(MYTH),
        );
    }
}

fn when_none_is_left(used: f64, ports: f64, growth: f64) -> String {
    if used >= ports * 0.98 {
        "connect fails with EADDRNOTAVAIL already, or is about to".to_owned()
    } else if growth > 0.0 {
        let minutes = (ports - used) / growth / 60.0;
        format!(
            "at this rate ({growth:.0}/s more) none is left in {minutes:.1} min, and connect \
             fails with EADDRNOTAVAIL"
        )
    } else {
        "the number is not growing now".to_owned()
    }
}

/// A server that closes first and so collects TIME_WAIT.
pub(super) fn closes_first(seen: &Observations, found: &mut Vec<Finding>) {
    const MANY: u64 = 1000;
    for (direction, time_wait) in &seen.time_wait {
        let Direction::In { on } = direction else {
            continue;
        };
        if time_wait.after < MANY {
            continue;
        }
        let of_all = match seen.max_tw_buckets {
            Some(most) => format!(" (of {most} that tcp_max_tw_buckets allows)"),
            None => String::new(),
        };
        let who = closer(seen, time_wait, Part::Server, on.port);
        found.push(
            Finding::new(
                "time-wait-closes-first",
                Severity::Info,
                format!(
                    "{} in TIME_WAIT on {on}{of_all}, {:.0}/s more: {} closes first",
                    count(time_wait.after, "socket"),
                    per_second(seen, time_wait).max(0.0),
                    who.process(),
                ),
                "Whoever closes first keeps TIME_WAIT. They hold no descriptor, no process and no \
                 port of a listener: a client that comes back replaces its own. They cost memory \
                 (about 300 bytes each) and, at tcp_max_tw_buckets, their protection.",
                "If the protocol allows it let the client close first: after the last answer \
                 read until recv returns 0, then close; or keep connections open. If the server is \
                 slow, look for another cause first, such as sockets never closed (CLOSE_WAIT).",
            )
            .by(&who)
            .count(time_wait.after)
            .myth(MYTH),
        );
    }
}

fn per_second(seen: &Observations, time_wait: &TimeWaitCounts) -> f64 {
    (time_wait.after as f64 - time_wait.before as f64) / seen.window.as_secs_f64().max(0.001)
}

/// Whoever closed first most often.
fn closer(seen: &Observations, time_wait: &TimeWaitCounts, part: Part, port: u16) -> Who {
    let most = time_wait.closers.iter().max_by_key(|(_, number)| **number);
    let process = most.map(|(process, _)| *process);
    let party = Party {
        name: process.map(|p| p.comm).filter(|comm| !comm.is_empty()),
        part,
        port: Some(port),
    };
    Who {
        pids: process.map(|process| process.pid).into_iter().collect(),
        ..Who::new(party, seen.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Comm, Process};
    use crate::tuple::{Endpoint, PortRange};
    use std::time::Duration;

    fn seen(direction: Direction, before: u64, after: u64, tw_reuse: i64) -> Observations {
        let app = Process {
            pid: 9,
            comm: Comm::from_bytes(b"app"),
        };
        let time_wait = TimeWaitCounts {
            before,
            after,
            closers: [(app, 5)].into(),
        };
        Observations {
            window: Duration::from_secs(10),
            time_wait: [(direction, time_wait)].into(),
            ports: Some(PortRange {
                first: 32768,
                last: 60999,
            }),
            tw_reuse: Some(tw_reuse),
            max_tw_buckets: Some(65536),
            ..Observations::default()
        }
    }

    fn out(ip: [u8; 4]) -> Direction {
        Direction::Out {
            from: ip.into(),
            to: Endpoint::new([10, 0, 0, 2].into(), 80),
        }
    }

    #[test]
    fn minutes_left_are_told_at_this_rate() {
        let mut found = Vec::new();
        exhaustion(&seen(out([10, 0, 0, 1]), 0, 10000, 2), &mut found);
        // 18 232 ports left at 1000 a second.
        assert!(
            found[0].what.contains("none is left in 0.3 min"),
            "{}",
            found[0].what
        );
        assert!(
            found[0].what.contains("pid 9 `app` closes first"),
            "{}",
            found[0].what
        );
        assert!(
            found[0]
                .myth
                .is_some_and(|myth| myth.contains("tcp_tw_recycle"))
        );
    }

    #[test]
    fn a_rate_that_fits_is_no_finding() {
        let mut found = Vec::new();
        exhaustion(&seen(out([10, 0, 0, 1]), 4000, 4010, 2), &mut found);
        exhaustion(&seen(out([127, 0, 0, 1]), 0, 28000, 2), &mut found);
        exhaustion(&seen(out([10, 0, 0, 1]), 0, 28000, 1), &mut found);
        assert_eq!(found, []);
    }

    #[test]
    fn a_server_that_closes_first_is_named_and_put_into_proportion() {
        let mut found = Vec::new();
        let on = Endpoint::new([10, 0, 0, 1].into(), 80);
        closes_first(&seen(Direction::In { on }, 0, 5000, 2), &mut found);
        assert!(
            found[0].what.contains("pid 9 `app` closes first"),
            "{}",
            found[0].what
        );
    }
}
