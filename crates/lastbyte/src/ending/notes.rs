//! What the machine notes of each observation.

use super::account::Seen;
use super::{
    Action, Detail, Ending, Fin, NEVER, Nanos, Observation, PeerFin, Phase, ReadSide, Step,
    TcpState, nanos, observation, payload,
};
use crate::errno::Errno;
use crate::policy::Policy;
use crate::report::Side;

impl Ending {
    /// Notes what holds when the close begins.
    #[inline]
    pub(super) fn take_stock(&mut self, policy: &Policy, queued: Option<u64>, detail: &Detail) {
        let closed = detail.state == TcpState::Closed;
        let fin = if closed {
            let told = policy.has_sent_fin();
            queued.is_some_and(|n| payload::fin_of_closed(n, detail, told))
        } else {
            detail.state.fin_queued()
        };
        if fin {
            self.fin = Fin::Sent;
        }
        self.in_handshake = detail.state.in_handshake();
        self.written = queued.and_then(|queued| payload::written(queued, detail, fin));
        self.closed_first = observation::closed_first(detail.state);
        self.eof = detail.state.peer_closed();
        self.read_side = match detail.read_shut {
            // Input resets only a connection that has our FIN; of one that is gone,
            // only the program knows whether it had shut down more than that.
            None if detail.input_trimmed => ReadSide::Trimmed,
            None if closed && (!fin || policy.is_half_closed()) => ReadSide::Open,
            None => ReadSide::Unknown,
            Some(false) => ReadSide::Open,
            Some(true) => ReadSide::Shut,
        };
        self.counted_with_fin = fin;
        self.data_segments_in = if closed {
            Some(0)
        } else {
            detail.data_segments_in
        };
    }

    /// All input that arrived and was discarded, once the ending is over. `None` where that
    /// is not known, and before.
    pub(crate) fn discarded(&self) -> Option<u64> {
        let is_known = self.phase == Phase::Over
            && self.read_side != ReadSide::Trimmed
            && self.input_left != NEVER;
        is_known.then(|| self.drained + self.input_left)
    }

    #[inline]
    pub(super) fn note_input(&mut self, seen: &Observation) {
        let left = seen.input.and_then(|input| input.left);
        self.input_left = left.unwrap_or(NEVER);
        if let Some(input) = seen.input {
            self.drained += input.drained;
            self.drain_left = self.drain_left.saturating_sub(input.drained);
        }
    }

    /// Only the state shows the peer's FIN: reading gives the end also where
    /// the reading side was shut down on this host.
    #[inline]
    pub(super) fn note_state(&mut self, seen: &Observation) {
        let Some(detail) = seen.detail else { return };
        self.in_handshake = detail.state.in_handshake();
        self.eof |= detail.state.peer_closed() || detail.peer_fin == PeerFin::Came;
        if detail.state.fin_queued() {
            self.fin = Fin::Sent;
        }
        if self.fin == Fin::Deferred && !self.in_handshake {
            // Of a connection that is gone, the counters tell how far it came.
            let ever = detail.state != TcpState::Closed || detail.connected == Some(true);
            self.fin = if ever { Fin::Sent } else { Fin::Deferred };
        }
        let open = !matches!(detail.state, TcpState::Closed) && !detail.state.peer_closed();
        let ended = seen.input.is_some_and(|input| input.ended);
        if open && ended && matches!(self.read_side, ReadSide::Open | ReadSide::Unknown) {
            self.read_side = ReadSide::Shut;
        }
        if self.must_see_exposed() && detail.state != TcpState::Closed {
            self.exposed_alive = true;
            self.counted_with_fin = true;
            self.data_segments_in = detail.data_segments_in;
        }
    }

    /// Returns whether the count is still to be taken that shows whose a reset is.
    #[inline]
    pub(super) fn must_see_exposed(&self) -> bool {
        self.read_side == ReadSide::Exposed && self.fin == Fin::Sent && !self.exposed_alive
    }

    /// Returns whether something decisive was not looked at.
    #[inline]
    pub(super) fn must_see_more(&self, seen: &Observation) -> bool {
        let blind = seen.blind().is_some();
        match seen.detail {
            // SIOCOUTQ does not count before the handshake is over.
            None if self.in_handshake || self.fin_refusal().is_some() => !blind,
            None if self.must_see_exposed() => !blind,
            // Whose end it is that reading gave.
            None => !blind && seen.input.is_some_and(|input| input.ended),
            Some(_) => false,
        }
    }

    /// Notes whose FIN was first. A peer's FIN that shows in a look after ours may
    /// have come before it; only the state can tell, and once the connection is gone
    /// nothing can.
    #[inline]
    pub(super) fn note_who_closed_first(&mut self, seen: &Observation) -> Option<Step> {
        if !self.fin_fresh || self.in_handshake {
            return None;
        }
        match seen.detail {
            // Taken, and not in the connection's state yet: Wine keeps it behind what it has
            // queued itself.
            Some(detail) if detail.state == TcpState::Established => return None,
            Some(detail) => {
                if let Some(side) = observation::closed_first(detail.state) {
                    self.closed_first = Some(side);
                }
            }
            None if self.closed_first.is_some() => {}
            // All input was read and no end came, so the peer's FIN is not there.
            None if seen.input.is_some() && self.drain_left > 0 => {
                self.closed_first = Some(Side::Local);
            }
            None if seen.blind().is_none() => return Some(Step::then(Action::Look)),
            None => {}
        }
        self.fin_fresh = false;
        None
    }

    #[inline]
    pub(super) fn fin_refusal(&self) -> Option<Errno> {
        match self.fin {
            Fin::Refused(error) => Some(error),
            Fin::None | Fin::Deferred | Fin::Sent => None,
        }
    }

    #[inline]
    pub(super) fn note_progress(&mut self, at: Nanos, seen: &Seen) {
        let queued = seen.queued.unwrap_or(self.progress_queued);
        if queued < self.progress_queued {
            // The acknowledgement came at some time since the last look; the
            // kernel's clock narrows it.
            let since = seen.detail.map_or(0, |d| nanos(d.since_ack));
            self.progress_at = self.progress_at.max(at.saturating_sub(since));
            self.progress_queued = queued;
        }
        let due = match seen.queued {
            Some(_) => self.progress_at.saturating_add(self.stall),
            // Progress does not show where nothing is counted, so neither does a stall.
            None => NEVER,
        };
        self.next_check = due.min(at.saturating_add(self.stall / 4)).max(at);
    }
}
