//! Limits that cut connections short: backlogs, orphans, TIME_WAIT buckets.

use std::time::Duration;

use super::{Finding, Observations, Stuck, count, seconds, who};
use crate::tuple::State;

/// Connections refused or reset because nobody accepted them in time.
pub(super) fn backlog(seen: &Observations, found: &mut Vec<Finding>) {
    for (process, group) in &seen.never_accepted {
        found.push(Finding::new(
            "backlog-reset",
            format!(
                "{} closed a listener over {} that nobody had accepted: each got an RST",
                who(*process),
                count(group.connections, "connection"),
            ),
            "The kernel completes handshakes on its own; what waits in the backlog when the \
             listener closes is reset, though the client believes it is connected and may have \
             sent a request.",
            "Hand the listening socket to the next process (or drain it: stop new connections at \
             the balancer, accept until EAGAIN, then close).",
        ));
    }
    let overflows = seen.grown("TcpExt.ListenOverflows");
    if overflows > 0 || !seen.full_backlogs.is_empty() {
        let full: Vec<String> = seen
            .full_backlogs
            .iter()
            .map(|(port, queued, backlog, owner)| {
                format!(
                    "port {port} of {} ({queued} queued, backlog {backlog})",
                    who(*owner)
                )
            })
            .collect();
        let full = match full.is_empty() {
            true => String::new(),
            false => format!("; full now: {}", full.join(", ")),
        };
        found.push(Finding::new(
            "backlog-overflow",
            format!(
                "{} dropped because a listener's backlog was full{full}",
                count(overflows, "connection attempt")
            ),
            "The application accepts more slowly than clients connect. The dropped ACK makes the \
             client wait and retransmit; with tcp_abort_on_overflow=1 it gets an RST.",
            "Accept faster (more acceptors, no work between accepts) or raise the backlog given to \
             listen() together with net.core.somaxconn.",
        ));
    }
}

/// Closed sockets whose data still waits for the peer.
pub(super) fn orphans(seen: &Observations, found: &mut Vec<Finding>) {
    const OLD: Duration = Duration::from_secs(3);
    let memory = seen.grown("TcpExt.TCPAbortOnMemory");
    if memory > 0 {
        found.push(Finding::new(
            "orphans-dropped",
            format!(
                "{} reset because there were too many orphans or TCP memory ran short",
                count(memory, "closed connection")
            ),
            "After close() the kernel holds what is undelivered as an orphan, best effort only: \
             beyond tcp_max_orphans or tcp_mem it resets them, and their data is lost.",
            "Keep the descriptor until the data is acknowledged (shutdown, wait, close; lastbyte \
             does), then no orphan exists to be dropped.",
        ));
    }
    let waiting: Vec<_> = seen
        .stuck
        .iter()
        .filter(|s| !s.held && s.age >= OLD)
        .filter(|s| matches!(s.state, State::FinWait1 | State::LastAck | State::Closing))
        .collect();
    let oldest = waiting.iter().map(|s| s.age).max().unwrap_or_default();
    // The FIN is queued behind the payload and counted with it.
    let payload = |s: &Stuck| u64::from(s.wqueue.saturating_sub(1));
    let bytes: u64 = waiting.iter().map(|s| payload(s)).sum();
    if !waiting.is_empty() {
        let peer = waiting.iter().max_by_key(|s| s.wqueue);
        let peer = peer.map_or(String::new(), |s| {
            format!(", the largest toward {}", s.tuple.remote)
        });
        let allowed = match seen.max_orphans {
            Some(most) => format!("; {most} orphans allowed"),
            None => String::new(),
        };
        found.push(Finding::new(
            "orphans-waiting",
            format!(
                "{} closed by their process still wait for ACKs, for up to {} \
                 ({} queued{peer}{allowed})",
                count(waiting.len() as u64, "connection"),
                seconds(oldest),
                count(bytes, "byte"),
            ),
            "close() returned 0, but the peer does not take the data (zero window) or does not \
             answer. Nobody will be told if it is lost.",
            "Bound the delivery by a deadline that somebody watches (lastbyte's Policy::wait with \
             stall), or set TCP_USER_TIMEOUT before closing.",
        ));
    }
}

/// TIME_WAIT sockets that were not kept.
pub(super) fn overflow(seen: &Observations, found: &mut Vec<Finding>) {
    let dropped = seen.grown("TcpExt.TCPTimeWaitOverflow");
    if dropped > 0 {
        found.push(
            Finding::new(
                "time-wait-overflow",
                format!(
                    "{} skipped TIME_WAIT because tcp_max_tw_buckets{} was reached",
                    count(dropped, "connection"),
                    seen.max_tw_buckets
                        .map_or(String::new(), |most| format!(" ({most})")),
                ),
                "Without TIME_WAIT a late segment or a repeated FIN is answered with an RST \
                 (NO_SOCKET), and an old duplicate can reach a new connection.",
                "Raise net.ipv4.tcp_max_tw_buckets, or make fewer TIME_WAIT: reuse connections, \
                 let the peer close first.",
            )
            .myth("Lowering tcp_max_tw_buckets to get rid of TIME_WAIT causes just this."),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::procnet::Counters;

    fn grown(name: &str, by: i64) -> Observations {
        Observations {
            before: Counters::from([(name.to_owned(), 5)]),
            after: Counters::from([(name.to_owned(), 5 + by)]),
            ..Observations::default()
        }
    }

    #[test]
    fn counters_that_grew_are_told_and_others_not() {
        let mut found = Vec::new();
        overflow(&grown("TcpExt.TCPTimeWaitOverflow", 0), &mut found);
        orphans(&grown("TcpExt.TCPAbortOnMemory", 0), &mut found);
        backlog(&grown("TcpExt.ListenOverflows", 0), &mut found);
        assert_eq!(found, []);
        overflow(&grown("TcpExt.TCPTimeWaitOverflow", 3), &mut found);
        orphans(&grown("TcpExt.TCPAbortOnMemory", 1), &mut found);
        backlog(&grown("TcpExt.ListenOverflows", 2), &mut found);
        let ids: Vec<_> = found.iter().map(|f| f.id).collect();
        assert_eq!(
            ids,
            ["time-wait-overflow", "orphans-dropped", "backlog-overflow"]
        );
    }
}
