//! Payload out of the kernel's counters ([`lastbyte_tcp::payload`]), as a look gives them.

use lastbyte_tcp::payload::SendCounts;

use super::Detail;

/// Payload bytes that send() ever accepted, or `None` where a counter is not known or
/// they contradict each other.
#[inline]
pub(super) fn written(queued: u64, detail: &Detail, fin: bool) -> Option<u64> {
    counts(queued, detail)?.written(fin)
}

/// Returns whether a FIN is in the counts of a connection that is gone.
///
/// The state no longer shows it. Where the counters do not either, the caller decides
/// (`half_closed`). Otherwise, with all acknowledged, the number of segments delivered shows
/// a FIN that had a segment to itself, and not one that left with the last data.
#[inline]
pub(super) fn fin_of_closed(queued: u64, detail: &Detail, half_closed: bool) -> bool {
    counts(queued, detail)
        .and_then(|counts| counts.fin_of_closed())
        .unwrap_or(half_closed || (queued == 0 && detail.fin_acked == Some(true)))
}

#[inline]
fn counts(queued: u64, detail: &Detail) -> Option<SendCounts> {
    Some(SendCounts {
        acked: detail.acked?,
        queued,
        transmitted: detail.transmitted?,
        unsent: detail.unsent?,
    })
}

#[cfg(test)]
mod tests {
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
