//! Payload bytes, out of counters that count SYN and FIN here and there.
//!
//! A SYN and a FIN take one sequence number each. `tcpi_bytes_acked` counts a FIN that
//! was acknowledged and, on the connecting side only, the SYN; the length of the send
//! queue and `tcpi_notsent_bytes` count a FIN that waits; `tcpi_bytes_sent` counts
//! neither. Together they say how many of the two are in, and so check each other
//! (`tcp_get_info`, `net/ipv4/tcp.c`; `tcp_snd_una_update`, `net/ipv4/tcp_input.c`).

/// The counters of what was sent, in the kernel's own counting, all of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendCounts {
    /// Sequence numbers that the peer acknowledged: `tcpi_bytes_acked`.
    pub acked: u64,
    /// Sequence numbers that wait for an acknowledgement: `SIOCOUTQ`, `idiag_wqueue`.
    pub queued: u64,
    /// Payload bytes that were transmitted, each counted once: `tcpi_bytes_sent` −
    /// `tcpi_bytes_retrans`.
    pub transmitted: u64,
    /// Of the queue, what was never transmitted: `tcpi_notsent_bytes`.
    pub unsent: u64,
}

impl SendCounts {
    /// Returns how many sequence numbers were used beyond the payload: 0 to 2, for our
    /// SYN, if we connected, and our FIN. A FIN that waits behind unsent data is not
    /// among them, because it is one of the unsent.
    ///
    /// Returns `None` where the counters contradict each other; more than 2 also is a
    /// contradiction, which is left to the caller, who may know why.
    #[inline]
    #[must_use]
    pub fn control(&self) -> Option<u64> {
        let used = self.acked.checked_add(self.queued)?;
        used.checked_sub(self.transmitted)?.checked_sub(self.unsent)
    }

    /// Returns the payload bytes that send() accepted over the connection's life. `fin`
    /// says whether our FIN is queued or sent.
    ///
    /// Returns `None` where the counters contradict each other, or `fin`.
    #[inline]
    #[must_use]
    pub fn written(&self, fin: bool) -> Option<u64> {
        // The FIN is the last of the queue: it is unsent as long as anything is.
        let fin_waits = u64::from(fin && self.unsent > 0);
        let payload = self.transmitted.checked_add(self.unsent - fin_waits)?;
        let used = self.acked.checked_add(self.queued)?;
        let syn = used.checked_sub(payload)?.checked_sub(u64::from(fin))?;
        (syn <= 1).then_some(payload)
    }

    /// Returns whether our FIN is in the counts of a connection that is gone, whose
    /// state no longer says, or `None` where the counts cannot tell: one number beyond
    /// the payload may be the SYN or the FIN, and a FIN behind unsent data shows as data.
    #[inline]
    #[must_use]
    pub fn fin_of_closed(&self) -> Option<bool> {
        match self.control() {
            Some(0) if self.unsent == 0 => Some(false),
            Some(2) if self.unsent == 0 => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn counts(acked: u64, queued: u64, transmitted: u64, unsent: u64) -> SendCounts {
        SendCounts {
            acked,
            queued,
            transmitted,
            unsent,
        }
    }

    proptest! {
        #![proptest_config(crate::few_under_miri())]

        /// Whatever was acknowledged, in flight or waiting, and whoever connected: the
        /// payload comes out, SYN and FIN do not.
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
            let seen = counts(acked + syn, flight + unsent + one, acked + flight, raw_unsent);
            prop_assert_eq!(seen.written(fin), Some(all));
            let fin_in_flight = if unsent > 0 { 0 } else { one };
            prop_assert_eq!(seen.control(), Some(syn + fin_in_flight));
            // With all of it acknowledged, the FIN too.
            let seen = counts(all + syn + one, 0, all, 0);
            prop_assert_eq!(seen.written(fin), Some(all));
            prop_assert_eq!(seen.control(), Some(syn + one));
            let told = (syn == one).then_some(fin);
            prop_assert_eq!(seen.fin_of_closed(), told);
        }

        /// Counters that are off by more than SYN and FIN are not believed.
        #[test]
        fn contradictions_are_unknown(acked in 3u64..1 << 40, off in 2u64..1000) {
            prop_assert_eq!(counts(acked + off, 0, acked, 0).written(false), None);
            prop_assert_eq!(counts(acked + off + 1, 0, acked, 0).written(true), None);
            prop_assert_eq!(counts(acked - 1, 0, acked, 0).written(false), None);
            prop_assert_eq!(counts(acked - 1, 0, acked, 0).control(), None);
            prop_assert_eq!(counts(acked - 1, 0, acked, 0).fin_of_closed(), None);
        }
    }

    #[test]
    fn a_fin_that_is_said_to_be_in_and_is_not_contradicts() {
        assert_eq!(counts(1000, 0, 1000, 0).written(true), None);
        assert_eq!(counts(1001, 0, 1000, 0).written(true), Some(1000));
        // The SYN alone, and SYN and FIN.
        assert_eq!(counts(1001, 0, 1000, 0).written(false), Some(1000));
        assert_eq!(counts(1002, 0, 1000, 0).written(true), Some(1000));
        assert_eq!(counts(1002, 0, 1000, 0).written(false), None);
    }

    #[test]
    fn a_gone_connections_fin_shows_beside_the_syn() {
        // The connecting side: 1000 bytes acknowledged and 10 not, the FIN behind them.
        assert_eq!(counts(1001, 11, 1010, 0).fin_of_closed(), Some(true));
        // One number too many may be either's.
        assert_eq!(counts(1001, 10, 1010, 0).fin_of_closed(), None);
        assert_eq!(counts(1000, 11, 1010, 0).fin_of_closed(), None);
        assert_eq!(counts(1000, 10, 1010, 0).fin_of_closed(), Some(false));
        // Of the unsent one may be the FIN.
        assert_eq!(counts(1000, 10, 1000, 10).fin_of_closed(), None);
        assert_eq!(counts(1001, 11, 1000, 10).fin_of_closed(), None);
    }

    #[test]
    fn numbers_at_the_end_of_their_range_do_not_overflow() {
        let most = u64::MAX;
        assert_eq!(counts(most, 1, 0, 0).control(), None);
        assert_eq!(counts(most, 1, 0, 0).written(true), None);
        assert_eq!(counts(most, most, most, most).written(true), None);
        assert_eq!(counts(0, 0, most, 1).written(false), None);
    }
}
