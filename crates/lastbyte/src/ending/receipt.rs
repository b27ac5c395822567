//! What became of a connection that was left to the kernel, from its last word.

use std::time::Duration;

use super::{Detail, TcpState, tally};
use crate::report::{Fate, Report, Side};

/// What was known when the descriptor was closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) closed_first: Side,
    pub(crate) data_segments_in: u64,
}

/// The kernel's last word on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastWord {
    pub(crate) queued: u64,
    pub(crate) detail: Option<Detail>,
    pub(crate) data_segments_in: Option<u64>,
}

impl Left {
    /// The report. What happened is inferred: the notice has counts, no reason.
    pub(crate) fn report(&self, word: &LastWord, elapsed: Duration) -> Report {
        // Its close sent a FIN, which is the last thing to be acknowledged.
        let payload = |n: u64| n.saturating_sub(1);
        let lost = payload(word.queued);
        let written = word
            .detail
            .and_then(|detail| tally::written(word.queued, &detail, true));
        // Input for a socket that nobody can read from makes the kernel reset it.
        let late_input = word.data_segments_in.map(|now| now > self.data_segments_in);
        let unanswered = word.detail.is_some_and(|detail| detail.unanswered);
        let (fate, rst_sent) = match (word.queued, late_input) {
            (0, _) => (Fate::Delivered, None),
            (_, Some(true)) => (Fate::Failed, Some(true)),
            _ if unanswered => (Fate::Failed, None),
            _ => (Fate::Reset, Some(false)),
        };
        Report {
            fate,
            acked: written.map(|written| written.saturating_sub(lost)),
            lost: Some(lost),
            unsent: word
                .detail
                .map(|detail| payload(detail.unsent).min(lost))
                .or((lost == 0).then_some(0)),
            unread: None,
            rst_sent,
            closed_first: Some(self.closed_first),
            elapsed,
            error: (fate == Fate::Reset).then_some(crate::errno::Errno::ECONNRESET),
        }
    }

    /// The report where the kernel's last word was lost, or is not awaited.
    pub(crate) fn unseen(&self, elapsed: Duration) -> Report {
        Report {
            fate: Fate::Detached,
            acked: None,
            lost: None,
            unsent: None,
            unread: None,
            rst_sent: None,
            closed_first: Some(self.closed_first),
            elapsed,
            error: None,
        }
    }
}

impl LastWord {
    pub(crate) fn new(
        queued: u64,
        counters: Option<(u64, u64, u64)>,
        data_segments_in: Option<u64>,
        unanswered: bool,
    ) -> Self {
        let detail = counters.map(|(acked, transmitted, unsent)| Detail {
            state: TcpState::Closed,
            unsent: unsent.min(queued),
            acked: Some(acked),
            transmitted,
            error: None,
            fin_acked: None,
            unanswered,
            since_ack: Duration::ZERO,
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
    fn delivered_reset_given_up_and_late_input() {
        // 100 bytes, all acknowledged, FIN too, on the accepting side.
        let word = LastWord::new(0, Some((101, 100, 0)), Some(3), false);
        let report = LEFT.report(&word, Duration::ZERO);
        assert_eq!(report.fate, Fate::Delivered);
        assert_eq!((report.acked, report.lost), (Some(100), Some(0)));
        // 40 not acknowledged, 10 of them never transmitted, connecting side.
        let counters = Some((61, 90, 11));
        for (segments, unanswered, fate, rst) in [
            (3, false, Fate::Reset, Some(false)),
            (3, true, Fate::Failed, None),
            (4, false, Fate::Failed, Some(true)),
        ] {
            let word = LastWord::new(41, counters, Some(segments), unanswered);
            let report = LEFT.report(&word, Duration::ZERO);
            assert_eq!((report.fate, report.rst_sent), (fate, rst));
            assert_eq!((report.acked, report.lost), (Some(60), Some(40)));
            assert_eq!(report.unsent, Some(10));
        }
    }
}
