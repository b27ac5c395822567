//! The report of an ending: counts without sequence numbers, and which side caused it.

use std::time::Duration;

use super::{
    Action, Detail, Ending, Fin, Nanos, Observation, PeerFin, Pending, ReadSide, Step, TcpState,
};
use crate::errno::Errno;
use crate::report::{Fate, Report};
use crate::sys::code;

/// An observation as the machine reckons with it: a FIN that the kernel has put off
/// is counted like one that waits in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) queued: Option<u64>,
    /// Input left in the receive queue.
    pub(super) left: Option<u64>,
    pub(super) looked_at_input: bool,
    /// Never transmitted, where the look went that far.
    pub(super) unsent: Option<u64>,
    pub(super) detail: Option<&'a Detail>,
}

impl<'a> Seen<'a> {
    /// The connection as it was seen, if it is gone.
    #[inline]
    pub(super) fn closed(&self) -> Option<&'a Detail> {
        self.detail
            .filter(|detail| detail.state == TcpState::Closed)
    }
}

impl Ending {
    #[inline]
    pub(super) fn seen<'a>(&self, observed: &'a Observation) -> Seen<'a> {
        let deferred = u64::from(self.fin == Fin::Deferred);
        let detail = observed.detail.as_ref();
        Seen {
            queued: observed.queued.ok().map(|queued| queued + deferred),
            left: observed.input.and_then(|input| input.left),
            looked_at_input: observed.input.is_some(),
            unsent: detail
                .and_then(|detail| detail.unsent)
                .map(|unsent| unsent + deferred),
            detail,
        }
    }

    /// The connection is gone and something was not acknowledged, or not confirmed.
    pub(super) fn broken(&mut self, at: Nanos, seen: &Seen, detail: &Detail) -> Step {
        let rst = self.death_sent_rst(seen, detail);
        let (fate, error) = match detail.error {
            Pending::Error(error) if is_reset(error) => match rst {
                Some(false) => (Fate::Reset, Some(Errno::ECONNRESET)),
                Some(true) | None => (Fate::Failed, Some(Errno::ECONNRESET)),
            },
            Pending::Error(error) => (Fate::Failed, Some(error)),
            // An earlier read or write of the program's has taken the error, and
            // with it the reason.
            Pending::None | Pending::Unknown => (Fate::Failed, None),
        };
        let report = self.report(fate, at, seen, rst, error);
        self.over(Action::Close).with(report)
    }

    /// The connection is gone and its counters are cleared: another holder of it has
    /// disconnected it, whatever the pending error looks like.
    pub(super) fn disconnected(&mut self, at: Nanos, seen: &Seen, detail: &Detail) -> Step {
        let error = match detail.error {
            Pending::Error(error) => Some(error),
            Pending::None | Pending::Unknown => None,
        };
        let report = self.report(Fate::Failed, at, seen, None, error);
        self.over(Action::Close).with(report)
    }

    /// Returns whether an RST of ours went with the end of a connection that broke.
    fn death_sent_rst(&self, seen: &Seen, detail: &Detail) -> Option<bool> {
        match detail.error {
            Pending::Error(error) if is_reset(error) => self.reset_was_ours(detail),
            Pending::Error(error) => self.rst_with(error, seen, detail),
            Pending::None | Pending::Unknown => None,
        }
    }

    /// Returns whether it was this host that reset the connection: because input came for a
    /// reading side that is shut down, which gives the same error as the peer's RST
    /// (`tcp_rcv_state_process`, net/ipv4/tcp_input.c).
    fn reset_was_ours(&self, detail: &Detail) -> Option<bool> {
        let came = detail.data_segments_in.zip(self.data_segments_in);
        let came = came.map(|(now, before)| now > before);
        match (self.read_side, came) {
            (ReadSide::Open, _) => Some(false),
            (ReadSide::Exposed, Some(false)) if self.exposed_alive => Some(false),
            (ReadSide::Exposed, Some(true)) if self.counted_with_fin => Some(true),
            // What had come may have been taken in before our FIN, when it does no harm
            // yet, or have been counted and not taken in by then.
            (ReadSide::Exposed | ReadSide::Shut | ReadSide::Unknown, _) => {
                (detail.data_segments_in? == 0).then_some(false)
            }
            // The peer's FIN resets it too, where it is behind data that was kept out,
            // and nothing counts that.
            (ReadSide::Trimmed, _) => None,
        }
    }

    /// Returns whether an RST of ours went with an error of the kernel's own. A keepalive
    /// that was not answered sends one, and it runs only while nothing is queued
    /// (`tcp_keepalive_timer`); retransmissions that were not answered send none
    /// (`tcp_write_err`, net/ipv4/tcp_timer.c). An administrator's `ss -K` sends
    /// one where both sides have not closed yet (`tcp_abort`, net/ipv4/tcp.c).
    fn rst_with(&self, error: Errno, seen: &Seen, detail: &Detail) -> Option<bool> {
        match error.raw() {
            code::ENDED_BY_ADMINISTRATOR => match detail.peer_fin {
                _ if self.fin != Fin::Sent => Some(true),
                _ if self.eof => Some(false),
                PeerFin::Missing => Some(true),
                PeerFin::Came => Some(false),
                PeerFin::NotAsked | PeerFin::Unknown => None,
            },
            code::ETIMEDOUT | code::EHOSTUNREACH | code::ENETUNREACH => {
                seen.queued.map(|queued| queued == 0)
            }
            code::ECONNREFUSED => Some(false),
            _ => None,
        }
    }

    /// The disconnect does not care for unread input, and leaves nothing to close. Of a
    /// connection that is gone, an RST may have gone out with its end.
    pub(super) fn abort_sends_rst(&self, seen: &Seen) -> Option<bool> {
        let detail = seen.detail?;
        if detail.state != TcpState::Closed {
            return detail.state.abort_sends_rst(seen.unsent);
        }
        match detail.error {
            // Both FINs have passed, or the program has taken the error itself.
            Pending::None => (seen.queued == Some(0)).then_some(false),
            Pending::Error(_) | Pending::Unknown => self.death_sent_rst(seen, detail),
        }
    }

    #[inline]
    pub(super) fn close_sends_rst(&self, seen: &Seen) -> Option<bool> {
        match seen.closed() {
            None => seen.left.map(|left| left > 0),
            // Both FINs have passed.
            Some(detail) if detail.error == Pending::None => Some(false),
            Some(detail) => self.death_sent_rst(seen, detail),
        }
    }

    /// Payload in the send queue: a queue that is not empty ends with our FIN.
    #[inline]
    pub(super) fn payload(&self, queued: Option<u64>) -> Option<u64> {
        let fin = matches!(self.fin, Fin::Sent | Fin::Deferred);
        queued.map(|queued| queued - u64::from(fin && queued > 0))
    }

    #[inline]
    pub(super) fn report(
        &self,
        fate: Fate,
        at: Nanos,
        seen: &Seen,
        rst_sent: Option<bool>,
        error: Option<Errno>,
    ) -> Report {
        let lost = self.payload(seen.queued);
        let unsent = match lost {
            Some(0) => Some(0),
            Some(lost) => self.payload(seen.unsent).map(|n| n.min(lost)),
            None => None,
        };
        // Between the look and the RST an acknowledgement may have come.
        let moving = self.unfrozen && lost.is_some_and(|lost| lost > 0);
        let still = |count: Option<u64>| count.filter(|_| !moving);
        Report {
            acked: still(
                self.written
                    .zip(lost)
                    .map(|(all, lost)| all.saturating_sub(lost)),
            ),
            lost: still(lost),
            unsent: still(unsent),
            unread: match self.read_side {
                ReadSide::Trimmed => None,
                _ => seen.left.map(|left| self.drained + left),
            },
            rst_sent,
            closed_first: self.closed_first,
            error,
            ..Report::unknown(fate, Duration::from_nanos(at))
        }
    }
}

/// The error of a reset: in CLOSE_WAIT Linux says EPIPE.
fn is_reset(error: Errno) -> bool {
    matches!(error.raw(), code::ECONNRESET | code::EPIPE)
}
