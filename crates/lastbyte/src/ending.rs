//! One connection's ending as pure logic: no clock, no I/O.
//!
//! A driver shows the machine what it sees ([`Observation`]) and does what the
//! machine answers ([`Step`]), at the latest at [`Ending::deadline`]. Times are
//! durations since the ending began.
//!
//! ```text
//!           Off, Wait                FIN acked
//! begin ──┬──────────► Flushing ──────────────┬──► AwaitingPeer ─┐ peer's FIN,
//!         │               │    confirm asked ─┘                  │ deadline
//!         │ Abort         │ deadline, stall                      ▼
//!         │               ▼                    without     the report
//!         └──────────► Frozen ◄──────────────── TIME_WAIT ───────┤
//!                         │                                      ▼
//!                         └──► the report, abort     Holding: late input is still
//!                                                    discarded, until the peer closes
//! ```
//!
//! Every path gives exactly one report and ends in [`Action::Close`] or
//! [`Action::Abort`].

use std::time::Duration;

use crate::errno::Errno;
use crate::linger::Linger;
use crate::policy::Policy;
use crate::report::{Fate, Report, Side};

mod account;
#[cfg(test)]
mod explore;
mod notes;
mod observation;
mod payload;
pub(crate) mod receipt;
mod state;
#[cfg(test)]
mod tests;

use account::Seen;
pub(crate) use observation::{Detail, Input, NoCount, Observation, PeerFin, Pending, TcpState};
use state::{Cause, Fin, NEVER, Nanos, Phase, ReadSide, nanos};

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Shut down the sending side, then look again. If the kernel refuses, say
    /// so with [`Ending::fin_refused`] and look fully.
    SendFin,
    /// Look fully, now.
    Look,
    /// Let nothing that arrives change the connection any more, then look fully.
    /// If the kernel refuses, say so with [`Ending::freeze_refused`].
    Freeze,
    /// Nothing until something happens or [`Ending::deadline`] comes.
    Wait,
    /// Close the descriptor. The ending is over.
    Close,
    /// Close the descriptor with linger on and 0. The ending is over.
    Abort,
}

/// An answer of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What became of the bytes, in the one step that finds out.
    pub(crate) report: Option<Report>,
    /// What to do next, the report delivered.
    pub(crate) action: Action,
}

/// The ending of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ending {
    phase: Phase,
    off: bool,
    confirm: bool,
    time_wait: bool,
    fin: Fin,
    /// The handshake was not over when the state was last seen.
    in_handshake: bool,
    /// No observation since our FIN has shown whether the peer's was there first.
    fin_fresh: bool,
    /// The peer's FIN has come, by the state of the connection.
    eof: bool,
    /// Both FINs have passed and ours was acknowledged, or the connection broke:
    /// nothing that is done to the descriptor matters any more.
    gone: bool,
    closed_first: Option<Side>,
    read_side: ReadSide,
    /// Data segments that had come in when the connection was first seen, or once it
    /// was seen alive with our FIN queued and its reading side shut and exposed.
    data_segments_in: Option<u32>,
    /// Whether our FIN was queued then: from there on one segment more, and the kernel
    /// resets.
    counted_with_fin: bool,
    /// Whether it was seen alive like that.
    exposed_alive: bool,
    /// The counters move until the RST.
    unfrozen: bool,
    /// Payload bytes that send() ever accepted.
    written: Option<u64>,
    /// Input discarded so far, and how much more may be.
    drained: u64,
    drain_left: u64,
    /// Input that the last look left in the receive queue; or `NEVER`, not known.
    input_left: u64,
    hold: Nanos,
    /// Held even if nothing came in.
    hold_quiet: bool,
    /// Or `NEVER`; in `Holding` the end of that.
    deadline: Nanos,
    /// Without progress for this long the ending is given up; or `NEVER`.
    stall: Nanos,
    /// When bytes were last known to be acknowledged, and how many were queued.
    progress_at: Nanos,
    progress_queued: u64,
    next_check: Nanos,
}

impl Ending {
    /// How long a background close with no deadline may go without progress
    /// before it is left to the kernel, whose orphan timers then decide.
    pub(crate) const OFF_PATIENCE: Duration = Duration::from_secs(120);

    /// Begins an ending with a full observation.
    ///
    /// # Panics
    /// Never; an observation without detail is answered with [`Action::Look`].
    pub(crate) fn begin(policy: &Policy, seen: &Observation) -> (Self, Step) {
        let linger = policy.linger();
        let stall = match (policy.stall(), linger) {
            (Some(stall), _) => nanos(stall),
            (None, Linger::Off) => nanos(Self::OFF_PATIENCE),
            (None, _) => NEVER,
        };
        let mut ending = Self {
            phase: Phase::Flushing,
            off: linger == Linger::Off,
            confirm: policy.confirm(),
            time_wait: policy.time_wait(),
            fin: Fin::None,
            in_handshake: false,
            fin_fresh: false,
            eof: false,
            gone: false,
            closed_first: None,
            read_side: ReadSide::Unknown,
            data_segments_in: None,
            counted_with_fin: false,
            exposed_alive: false,
            unfrozen: false,
            written: None,
            drained: 0,
            input_left: NEVER,
            drain_left: policy.drain_bytes(),
            hold: nanos(policy.hold_time()),
            hold_quiet: policy.holds_quiet(),
            deadline: linger.deadline().map_or(NEVER, nanos),
            stall,
            progress_at: 0,
            progress_queued: seen.queued.unwrap_or(0),
            next_check: stall / 4,
        };
        let Some(detail) = seen.detail else {
            return (ending, Step::then(Action::Look));
        };
        ending.take_stock(policy, seen.queued.ok(), &detail);
        let step = if linger == Linger::Abort {
            ending.note_input(seen);
            ending.freeze(Cause::Asked)
        } else {
            ending.observe_at(0, seen)
        };
        (ending, step)
    }

    /// Input that the next look may discard at most.
    pub(crate) fn drain_allowance(&self) -> u64 {
        match self.phase {
            Phase::Frozen(_) | Phase::Over => 0,
            Phase::Flushing | Phase::AwaitingPeer | Phase::Holding => self.drain_left,
        }
    }

    /// Returns when the ending must be observed again even if nothing happens.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let due = match self.phase {
            Phase::Flushing => self.deadline.min(self.next_check),
            Phase::AwaitingPeer | Phase::Holding => self.deadline,
            Phase::Frozen(_) => 0,
            Phase::Over => NEVER,
        };
        (due != NEVER).then(|| Duration::from_nanos(due))
    }

    /// Brings the deadline forward, for a caller that has no more time.
    pub(crate) fn cut_short(&mut self, at: Duration) {
        self.deadline = self.deadline.min(nanos(at));
    }

    /// Returns whether the peer sent nothing since the close began, and left nothing
    /// unread before: then nothing suggests that late input will come.
    pub(crate) fn is_quiet(&self) -> bool {
        self.drained == 0
    }

    /// Returns whether closing the descriptor has no effect on the connection.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Reported, and only late input matters any more.
    pub(crate) fn is_holding(&self) -> bool {
        self.phase == Phase::Holding
    }

    /// Returns whether input must be kept out, lest it make the kernel reset the
    /// connection. The answer is given with [`trimmed`](Self::trimmed).
    pub(crate) fn wants_trim(&self) -> bool {
        self.read_side == ReadSide::Shut
            && matches!(
                self.phase,
                Phase::Flushing | Phase::AwaitingPeer | Phase::Holding
            )
    }

    /// Whether input is kept out now.
    pub(crate) fn trimmed(&mut self, trimmed: bool) {
        self.read_side = if trimmed {
            ReadSide::Trimmed
        } else {
            ReadSide::Exposed
        };
    }

    /// The kernel would not take a FIN: the connection ended just before, or the
    /// call is forbidden.
    pub(crate) fn fin_refused(&mut self, error: Errno) {
        self.fin = Fin::Refused(error);
        self.fin_fresh = false;
    }

    /// The counters move until the RST.
    pub(crate) fn freeze_refused(&mut self) {
        self.unfrozen = true;
    }

    /// The report of an ending that its caller does not await any longer.
    pub(crate) fn detached(&self, at: Duration, seen: &Observation) -> Report {
        let seen = self.seen(seen);
        self.detached_at(nanos(at), &seen)
    }

    fn detached_at(&self, at: Nanos, seen: &Seen) -> Report {
        Report {
            lost: self.payload(seen.queued).filter(|&payload| payload == 0),
            ..self.report(Fate::Detached, at, seen, Some(false), None)
        }
    }

    /// Returns what follows from `seen`, `at` this time since the ending began.
    pub(crate) fn observe(&mut self, at: Duration, seen: &Observation) -> Step {
        self.observe_at(nanos(at), seen)
    }

    fn observe_at(&mut self, at: Nanos, observed: &Observation) -> Step {
        self.note_input(observed);
        self.note_state(observed);
        if self.must_see_more(observed) {
            return Step::then(Action::Look);
        }
        if let Some(look) = self.note_who_closed_first(observed) {
            return look;
        }
        let seen = self.seen(observed);
        let closed = seen.closed();
        self.gone = closed.is_some();
        match self.phase {
            Phase::Flushing => match (observed.blind(), closed) {
                (Some(Errno::ENOTCONN), Some(detail)) => self.disconnected(at, &seen, detail),
                (Some(error), _) => self.blind(at, error),
                (None, closed) => self.flush(at, &seen, closed),
            },
            Phase::AwaitingPeer => match observed.blind() {
                Some(error) => self.blind(at, error),
                None => self.await_peer(at, &seen, closed),
            },
            Phase::Holding => {
                let blind = observed.blind().is_some();
                if self.eof || closed.is_some() || blind || seen.left != Some(0) {
                    return self.over(Action::Close);
                }
                if at >= self.deadline {
                    return self.over(Action::Close);
                }
                Step::then(Action::Wait)
            }
            Phase::Frozen(cause) => self.frozen(at, &seen, cause),
            Phase::Over => Step::then(Action::Close),
        }
    }

    /// Data or FIN are under way.
    fn flush(&mut self, at: Nanos, seen: &Seen, closed: Option<&Detail>) -> Step {
        if self.fin == Fin::Sent && seen.queued == Some(0) {
            if !seen.looked_at_input {
                return Step::then(Action::Look);
            }
            return self.delivered(at, seen);
        }
        if let Some(detail) = closed {
            return self.broken(at, seen, detail);
        }
        match (self.fin, seen.detail.map(|detail| detail.state)) {
            // Shutting down now would break the handshake off (`inet_shutdown`,
            // net/ipv4/af_inet.c).
            (Fin::None, Some(TcpState::SynSent)) => {}
            (Fin::None, Some(state)) => {
                self.fin = match state {
                    TcpState::SynReceived => Fin::Deferred,
                    _ => Fin::Sent,
                };
                self.fin_fresh = true;
                return Step::then(Action::SendFin);
            }
            (Fin::Refused(error), _) => return self.blind(at, error),
            (Fin::None | Fin::Deferred | Fin::Sent, _) => {}
        }
        self.note_progress(at, seen);
        self.overdue(at, seen)
    }

    /// All is acknowledged, and the peer's FIN is waited for.
    fn await_peer(&mut self, at: Nanos, seen: &Seen, closed: Option<&Detail>) -> Step {
        if self.eof {
            return self.confirmed(at, seen);
        }
        match closed.map(|detail| (detail, detail.error, detail.peer_fin)) {
            None if at >= self.deadline => {
                self.end(at, seen, Fate::TimedOut, Some(Errno::EWOULDBLOCK))
            }
            None => Step::then(Action::Wait),
            Some((_, _, PeerFin::NotAsked)) => Step::then(Action::Look),
            // Both FINs have passed: only then is a connection gone without an
            // error, unless somebody has taken it.
            Some((_, Pending::None, PeerFin::Unknown)) => self.confirmed(at, seen),
            Some((detail, ..)) => self.broken(at, seen, detail),
        }
    }

    fn overdue(&mut self, at: Nanos, seen: &Seen) -> Step {
        if at >= self.deadline {
            return self.freeze(Cause::Deadline);
        }
        if at < self.progress_at.saturating_add(self.stall) {
            return Step::then(Action::Wait);
        }
        if self.off && (!seen.looked_at_input || seen.detail.is_none()) {
            return Step::then(Action::Look);
        }
        // Closing with unread input would throw the send queue away, and so it would
        // before the SYN is answered: only a clean one can be left to the kernel.
        let unanswered = seen.detail.is_some_and(|d| d.state == TcpState::SynSent);
        if self.off && seen.left == Some(0) && !unanswered {
            let report = self.detached_at(at, seen);
            return self.over(Action::Close).with(report);
        }
        if seen.queued.is_none() {
            return Step::then(Action::Wait);
        }
        self.freeze(Cause::Stall)
    }

    fn delivered(&mut self, at: Nanos, seen: &Seen) -> Step {
        let closed = seen.closed();
        if self.confirm {
            if self.eof {
                return self.confirmed(at, seen);
            }
            self.phase = Phase::AwaitingPeer;
            if self.off {
                // One that nobody waits for is not held for ever.
                self.deadline = self.deadline.min(at.saturating_add(self.stall));
            }
            // The same look may already show how the peer's side ended.
            return self.await_peer(at, seen, closed);
        }
        if self.eof || closed.is_some() || seen.left != Some(0) {
            return self.end(at, seen, Fate::Delivered, None);
        }
        if !self.time_wait {
            return self.freeze(Cause::SkipTimeWait);
        }
        // Nothing came in, so nothing suggests that anything will.
        let quiet = self.drained == 0 && !self.hold_quiet;
        if self.hold == 0 || quiet {
            return self.end(at, seen, Fate::Delivered, None);
        }
        let report = self.report(Fate::Delivered, at, seen, Some(false), None);
        self.phase = Phase::Holding;
        self.deadline = at.saturating_add(self.hold);
        Step::then(Action::Wait).with(report)
    }

    fn confirmed(&mut self, at: Nanos, seen: &Seen) -> Step {
        self.end(at, seen, Fate::Confirmed, None)
    }

    fn freeze(&mut self, cause: Cause) -> Step {
        self.phase = Phase::Frozen(cause);
        Step::then(Action::Freeze)
    }

    fn frozen(&mut self, at: Nanos, seen: &Seen, cause: Cause) -> Step {
        let state = seen.detail.map(|detail| detail.state);
        // The last ACK came just in time.
        let late_success = self.fin == Fin::Sent && seen.queued == Some(0);
        if let (Some(detail), Some(TcpState::Closed)) = (seen.detail, state) {
            if cause != Cause::Asked {
                // It ended by itself just before it was frozen.
                return if late_success {
                    self.delivered(at, seen)
                } else {
                    self.broken(at, seen, detail)
                };
            }
        }
        let (fate, error) = match cause {
            Cause::Asked => (Fate::Aborted, None),
            Cause::SkipTimeWait => (Fate::Delivered, None),
            Cause::Deadline | Cause::Stall if late_success => {
                return match (self.confirm, self.eof) {
                    (true, false) => self.end(at, seen, Fate::TimedOut, Some(Errno::EWOULDBLOCK)),
                    (true, true) => self.confirmed(at, seen),
                    (false, _) => self.end(at, seen, Fate::Delivered, None),
                };
            }
            Cause::Deadline => (Fate::TimedOut, Some(Errno::EWOULDBLOCK)),
            Cause::Stall => (Fate::Stalled, Some(Errno::EWOULDBLOCK)),
        };
        let rst = self.abort_sends_rst(seen);
        if cause == Cause::Asked && rst == Some(true) && self.closed_first.is_none() {
            self.closed_first = Some(Side::Local);
        }
        let report = self.report(fate, at, seen, rst, error);
        self.over(Action::Abort).with(report)
    }

    /// Reports and closes in the ordinary way. Unread input makes the kernel
    /// send an RST then (RFC 2525 §2.17).
    fn end(&mut self, at: Nanos, seen: &Seen, fate: Fate, error: Option<Errno>) -> Step {
        if seen.left != Some(0) && seen.detail.is_none() {
            // The peer's FIN may be behind what is left; then nothing is sent.
            return Step::then(Action::Look);
        }
        let rst = self.close_sends_rst(seen);
        let report = self.report(fate, at, seen, rst, error);
        self.over(Action::Close).with(report)
    }

    /// The kernel does not let us see what becomes of the bytes, or not act: it is
    /// left to the kernel's own close.
    fn blind(&mut self, at: Nanos, error: Errno) -> Step {
        let error = (!self.off).then_some(error);
        let report = Report::left_to_kernel(self.closed_first, Duration::from_nanos(at), error);
        self.over(Action::Close).with(report)
    }

    fn over(&mut self, action: Action) -> Step {
        self.phase = Phase::Over;
        Step::then(action)
    }
}

impl Step {
    const fn then(action: Action) -> Self {
        Self {
            report: None,
            action,
        }
    }

    const fn with(self, report: Report) -> Self {
        Self {
            report: Some(report),
            ..self
        }
    }
}
