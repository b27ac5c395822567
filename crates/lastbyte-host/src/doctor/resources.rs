//! Limits that cut connections short: orphans and TIME_WAIT buckets.

use std::time::Duration;

use super::finding::{Example, Severity, count, seconds};
use super::{Finding, Observations, Stuck};
use crate::tuple::State;

/// Closed sockets whose data still waits for the peer.
pub(super) fn orphans(seen: &Observations, found: &mut Vec<Finding>) {
    const OLD: Duration = Duration::from_secs(3);
    const SHOWN: usize = 3;
    let memory = seen.grown("TcpExt.TCPAbortOnMemory");
    if memory > 0 {
        found.push(Finding::new(
            "orphans-dropped",
            Severity::Problem,
            format!(
                "{} reset because there were too many orphans or TCP memory ran short",
                count(memory, "closed connection")
            ),
            "After close() the kernel holds what is undelivered as an orphan, best effort only: \
             beyond tcp_max_orphans or tcp_mem it resets them, and their data is lost.",
            "Keep the descriptor until the data is acknowledged (shutdown, wait, close; lastbyte \
             does), then no orphan exists to be dropped.",
        ).count(memory));
    }
    let mut waiting: Vec<_> = seen
        .stuck
        .iter()
        .filter(|s| !s.held && s.age >= OLD)
        .filter(|s| matches!(s.state, State::FinWait1 | State::LastAck | State::Closing))
        .collect();
    waiting.sort_by_key(|s| std::cmp::Reverse(s.wqueue));
    let oldest = waiting.iter().map(|s| s.age).max().unwrap_or_default();
    let bytes: u64 = waiting.iter().map(|s| payload(s)).sum();
    if !waiting.is_empty() {
        let peer = waiting.first();
        let peer = peer.map_or(String::new(), |s| {
            format!(", the largest toward {}", s.tuple.remote)
        });
        let allowed = match seen.max_orphans {
            Some(most) => format!("; {most} orphans allowed"),
            None => String::new(),
        };
        found.push(Finding::new(
            "orphans-waiting",
            Severity::Warning,
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
        ).count(waiting.len() as u64).examples(waiting.iter().take(SHOWN).map(|s| example(s)).collect()));
    }
}

/// The FIN is queued behind the payload and counted with it.
fn payload(socket: &Stuck) -> u64 {
    u64::from(socket.wqueue.saturating_sub(1))
}

fn example(socket: &Stuck) -> Example {
    Example {
        age_s: Some(socket.age.as_secs()),
        ..Example::of(&socket.tuple, None)
    }
}

/// TIME_WAIT sockets that were not kept.
pub(super) fn overflow(seen: &Observations, found: &mut Vec<Finding>) {
    let dropped = seen.grown("TcpExt.TCPTimeWaitOverflow");
    if dropped > 0 {
        found.push(
            Finding::new(
                "time-wait-overflow",
                Severity::Warning,
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
            .count(dropped)
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
        super::super::backlog::overflow(&grown("TcpExt.ListenOverflows", 0), &mut found);
        assert_eq!(found, []);
        overflow(&grown("TcpExt.TCPTimeWaitOverflow", 3), &mut found);
        orphans(&grown("TcpExt.TCPAbortOnMemory", 1), &mut found);
        super::super::backlog::overflow(&grown("TcpExt.ListenOverflows", 2), &mut found);
        let ids: Vec<_> = found.iter().map(|f| f.id).collect();
        assert_eq!(
            ids,
            ["time-wait-overflow", "orphans-dropped", "backlog-overflow"]
        );
    }
}
