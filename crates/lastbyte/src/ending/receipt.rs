//! What became of a connection that was left to the kernel, by its destroy notice.

use std::time::Duration;

use super::{Detail, TcpState, payload};
use crate::report::{Fate, Report, Side};

/// What was known of the connection when its descriptor was closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) closed_first: Side,
    pub(crate) data_segments_in: u32,
}

/// What the destroy notice says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DestroyNotice {
    pub(crate) queued: u64,
    pub(crate) detail: Option<Detail>,
    pub(crate) data_segments_in: Option<u32>,
}

impl Left {
    /// Makes the report. What happened is inferred: the notice has counts, no reason.
    pub(crate) fn report(&self, notice: &DestroyNotice, elapsed: Duration) -> Report {
        // Its close sent a FIN, which is the last thing to be acknowledged.
        let payload = |n: u64| n.saturating_sub(1);
        let lost = payload(notice.queued);
        let written = notice
            .detail
            .and_then(|detail| payload::written(notice.queued, &detail, true));
        // Input for a socket that nobody can read from makes the kernel reset it.
        let late_input = notice
            .data_segments_in
            .map(|now| now > self.data_segments_in);
        // Else it was the peer's RST, a time-out, or this host was short of memory
        // for connections that no process holds (`tcp_check_oom`): not known.
        let (fate, rst_sent) = match (notice.queued, late_input) {
            (0, _) => (Fate::Delivered, None),
            (_, Some(true)) => (Fate::Failed, Some(true)),
            (_, Some(false) | None) => (Fate::Failed, None),
        };
        Report {
            acked: written.map(|written| written.saturating_sub(lost)),
            lost: Some(lost),
            unsent: notice
                .detail
                .and_then(|detail| detail.unsent)
                .map(|unsent| payload(unsent).min(lost))
                .or((lost == 0).then_some(0)),
            rst_sent,
            closed_first: Some(self.closed_first),
            ..Report::unknown(fate, elapsed)
        }
    }

    /// The report where the notice was lost, or is not awaited.
    pub(crate) fn unseen(&self, elapsed: Duration) -> Report {
        Report::left_to_kernel(Some(self.closed_first), elapsed, None)
    }
}

impl DestroyNotice {
    pub(crate) fn new(
        queued: u64,
        counters: Option<(u64, u64, u64)>,
        data_segments_in: Option<u32>,
    ) -> Self {
        let detail = counters.map(|(acked, transmitted, unsent)| Detail {
            unsent: Some(unsent.min(queued)),
            acked: Some(acked),
            transmitted: Some(transmitted),
            ..Detail::of(TcpState::Closed)
        });
        Self {
            queued,
            detail,
            data_segments_in,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Left = Left {
        closed_first: Side::Local,
        data_segments_in: 3,
    };

    #[test]
    fn delivered_failed_and_late_input() {
        // 100 bytes, all acknowledged, FIN too, on the accepting side.
        let notice = DestroyNotice::new(0, Some((101, 100, 0)), Some(3));
        let report = LEFT.report(&notice, Duration::ZERO);
        assert_eq!(report.fate, Fate::Delivered);
        assert_eq!((report.acked, report.lost), (Some(100), Some(0)));
        // 40 not acknowledged, 10 of them never transmitted, connecting side.
        let counters = Some((61, 90, 11));
        for (segments, rst) in [(3, None), (4, Some(true))] {
            let notice = DestroyNotice::new(41, counters, Some(segments));
            let report = LEFT.report(&notice, Duration::ZERO);
            // Not `reset`: it need not have been the peer.
            assert_eq!((report.fate, report.error), (Fate::Failed, None));
            assert_eq!(report.rst_sent, rst);
            assert_eq!((report.acked, report.lost), (Some(60), Some(40)));
            assert_eq!(report.unsent, Some(10));
        }
    }
}
