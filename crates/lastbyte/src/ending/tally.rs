//! Payload out of the kernel's counters, which count SYN and FIN here and there.
//!
//! `acked` counts a FIN, and on the connecting side the SYN; `queued` and
//! `unsent` count a FIN that waits; `transmitted` counts neither. Together they
//! say how many of the two are in, and so check each other (net/ipv4/tcp.c,
//! `tcp_get_info`; tcp_input.c, `tcp_snd_una_update`).

use super::Detail;

/// Payload bytes that send() ever accepted, or `None` where the counters
/// contradict each other.
pub(super) fn written(queued: u64, detail: &Detail, fin: bool) -> Option<u64> {
    let payload = sent_and_unsent(detail, fin)?;
    let syn = extra(queued, detail, payload)?.checked_sub(u64::from(fin))?;
    (syn <= 1).then_some(payload)
}

/// Whether a FIN is in the counts of a connection that is gone.
///
/// The state no longer tells. The counters do when they hold no sequence number
/// beyond the payload, or two (SYN and FIN); else the caller's word counts. Without
/// it, and with all acknowledged, the number of segments delivered tells of a FIN
/// that had one to itself; one that left with the last data does not show there.
pub(super) fn fin_of_closed(queued: u64, detail: &Detail, half_closed: bool) -> bool {
    let extra = sent_and_unsent(detail, false).and_then(|p| extra(queued, detail, p));
    match extra {
        Some(0) if detail.unsent == Some(0) => false,
        Some(2) if detail.unsent == Some(0) => true,
        _ => half_closed || (queued == 0 && detail.fin_acked == Some(true)),
    }
}

fn sent_and_unsent(detail: &Detail, fin: bool) -> Option<u64> {
    let fin_waits = u64::from(fin && detail.unsent? > 0);
    detail
        .transmitted?
        .checked_add(detail.unsent?.checked_sub(fin_waits)?)
}

/// Sequence numbers acknowledged or queued beyond `payload`.
fn extra(queued: u64, detail: &Detail, payload: u64) -> Option<u64> {
    detail.acked?.checked_add(queued)?.checked_sub(payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ending::TcpState;

    fn detail(unsent: u64, acked: u64, transmitted: u64) -> Detail {
        Detail {
            state: TcpState::Established,
            unsent: Some(unsent),
            acked: Some(acked),
            transmitted: Some(transmitted),
            ..Detail::of(TcpState::Established)
        }
    }

    proptest! {
        /// Whatever was acknowledged, in flight or waiting, and whoever
        /// connected: the payload comes out, SYN and FIN do not.
        #[test]
        fn payload_is_exact(
            acked in 0u64..1 << 40,
            flight in 0u64..1 << 30,
            unsent in 0u64..1 << 30,
            connecting: bool,
            fin: bool,
        ) {
            let syn = u64::from(connecting);
            let all = acked + flight + unsent;
            let one = u64::from(fin);
            // The FIN waits behind unsent data, else it is in flight.
            let raw_unsent = if unsent > 0 { unsent + one } else { 0 };
            let seen = detail(raw_unsent, acked + syn, acked + flight);
            prop_assert_eq!(written(flight + unsent + one, &seen, fin), Some(all));
            // With all of it acknowledged, the FIN too.
            let seen = detail(0, all + syn + one, all);
            prop_assert_eq!(written(0, &seen, fin), Some(all));
        }

        /// Counters that are off by more than SYN and FIN are not believed.
        #[test]
        fn contradictions_are_unknown(acked in 3u64..1 << 40, off in 2u64..1000) {
            prop_assert_eq!(written(0, &detail(0, acked + off, acked), false), None);
            prop_assert_eq!(written(0, &detail(0, acked - 1, acked), false), None);
        }
    }

    #[test]
    fn a_gone_connections_fin_shows_in_the_segments_delivered() {
        // One sequence number too many: the SYN, or the FIN of an accepted one.
        for fin in [true, false] {
            let seen = Detail {
                fin_acked: Some(fin),
                ..detail(0, 1001, 1000)
            };
            assert_eq!(fin_of_closed(0, &seen, false), fin);
            // It may have left with the last of the data.
            assert!(fin_of_closed(0, &seen, true));
        }
        // Neither is in: the caller is mistaken.
        assert!(!fin_of_closed(0, &detail(0, 1000, 1000), true));
    }

    #[test]
    fn a_gone_connections_fin_shows_beside_the_syn() {
        // Connecting side, 1000 bytes acknowledged and 10 not, FIN behind them.
        assert!(fin_of_closed(11, &detail(0, 1001, 1010), false));
        // The same without a FIN.
        assert!(!fin_of_closed(10, &detail(0, 1001, 1010), false));
        // The accepting side's counts cannot tell; the caller can.
        assert!(!fin_of_closed(11, &detail(0, 1000, 1010), false));
        assert!(fin_of_closed(11, &detail(0, 1000, 1010), true));
    }
}
