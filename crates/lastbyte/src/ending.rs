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

#[cfg(test)]
mod explore;
pub(crate) mod receipt;
mod tally;
#[cfg(test)]
mod tests;

/// What a driver saw. Counts are the kernel's own, sequence numbers included:
/// an unacknowledged FIN adds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Observation {
    /// Bytes between the last one written and the last one acknowledged.
    pub(crate) queued: u64,
    /// Input discarded by this look.
    pub(crate) drained: u64,
    /// Input left in the receive queue, because it may not be discarded.
    pub(crate) unread: u64,
    /// The peer's FIN was reached.
    pub(crate) eof: bool,
    /// The rest, when the look was a full one.
    pub(crate) detail: Option<Detail>,
}

/// What a full look tells beyond the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Detail {
    pub(crate) state: TcpState,
    /// Bytes of the send queue never transmitted.
    pub(crate) unsent: u64,
    /// Bytes acknowledged over the connection's life, SYN (connecting side) and
    /// FIN counted. `None` when the counters moved while they were read.
    pub(crate) acked: Option<u64>,
    /// Payload bytes transmitted, each counted once.
    pub(crate) transmitted: u64,
    /// The error the kernel held for the next call.
    pub(crate) error: Option<Errno>,
    /// Whether a FIN of ours was acknowledged, by the count of segments delivered;
    /// of a connection that is gone, also by the peer's FIN and no error. `None`
    /// where retransmissions blur it.
    pub(crate) fin_acked: Option<bool>,
    /// Retransmissions or probes were under way and unanswered.
    pub(crate) unanswered: bool,
    /// Time since any acknowledgement arrived.
    pub(crate) since_ack: Duration,
}

/// Where a connection stands, by the names of RFC 9293 §3.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TcpState {
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

impl TcpState {
    /// Our FIN is in the send queue or beyond: nothing can be written any more.
    pub(crate) const fn fin_queued(self) -> bool {
        matches!(
            self,
            Self::FinWait1 | Self::FinWait2 | Self::Closing | Self::LastAck | Self::TimeWait
        )
    }

    /// Who sent the first FIN, where this state tells.
    const fn closed_first(self) -> Option<Side> {
        match self {
            Self::CloseWait | Self::LastAck => Some(Side::Peer),
            Self::FinWait1 | Self::FinWait2 | Self::Closing | Self::TimeWait => Some(Side::Local),
            Self::Established | Self::Closed => None,
        }
    }

    /// Whether an abort from here puts an RST on the wire (RFC 9293 §3.10.5;
    /// `tcp_disconnect`, net/ipv4/tcp.c). In CLOSING and LAST_ACK it does so
    /// only while something was never transmitted.
    const fn abort_sends_rst(self, unsent: u64) -> bool {
        match self {
            Self::Established | Self::CloseWait | Self::FinWait1 | Self::FinWait2 => true,
            Self::Closing | Self::LastAck => unsent > 0,
            Self::TimeWait | Self::Closed => false,
        }
    }
}

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Shut down the sending side, then look again. If the kernel refuses, say
    /// so with [`Ending::fin_refused`] and look fully.
    SendFin,
    /// Look fully, now.
    Look,
    /// Let nothing that arrives change the connection any more, then look fully.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Data or FIN not acknowledged yet.
    Flushing,
    /// All acknowledged; the peer's FIN is waited for.
    AwaitingPeer,
    /// Reported; late input is discarded so that it does not provoke an RST.
    Holding,
    /// Frozen, to be aborted for this cause.
    Frozen(Cause),
    /// The descriptor was closed.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Cause {
    Asked,
    Deadline,
    Stall,
    SkipTimeWait,
}

/// The ending of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ending {
    phase: Phase,
    off: bool,
    confirm: bool,
    time_wait: bool,
    fin_sent: bool,
    /// The next observation is the first since our FIN.
    fin_fresh: bool,
    eof: bool,
    /// Both FINs have passed and ours was acknowledged, or the connection broke:
    /// nothing that is done to the descriptor matters any more.
    gone: bool,
    closed_first: Option<Side>,
    /// Payload bytes that send() ever accepted.
    written: Option<u64>,
    /// Input discarded so far, and how much more may be.
    drained: u64,
    drain_left: u64,
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

/// Nanoseconds since the ending began, half the size of a `Duration`: thousands
/// of endings are held at once. Longer than 584 years is for ever.
type Nanos = u64;

const NEVER: Nanos = Nanos::MAX;

fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(NEVER)
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
        let stall = match (policy.stall_time(), linger) {
            (Some(stall), _) => nanos(stall),
            (None, Linger::Off) => nanos(Self::OFF_PATIENCE),
            (None, _) => NEVER,
        };
        let mut ending = Self {
            phase: Phase::Flushing,
            off: linger == Linger::Off,
            confirm: policy.confirms(),
            time_wait: policy.keeps_time_wait(),
            fin_sent: false,
            fin_fresh: false,
            eof: false,
            gone: false,
            closed_first: None,
            written: None,
            drained: 0,
            drain_left: policy.drain_bytes(),
            hold: nanos(policy.drain_time()),
            hold_quiet: policy.holds_quiet(),
            deadline: linger.deadline().map_or(NEVER, nanos),
            stall,
            progress_at: 0,
            progress_queued: seen.queued,
            next_check: stall / 4,
        };
        let Some(detail) = seen.detail else {
            return (ending, Step::then(Action::Look));
        };
        let fin = match detail.state {
            TcpState::Closed => tally::fin_of_closed(seen.queued, &detail, policy.is_half_closed()),
            state => state.fin_queued(),
        };
        ending.fin_sent = fin;
        ending.written = tally::written(seen.queued, &detail, fin);
        ending.closed_first = detail.state.closed_first();
        let step = if linger == Linger::Abort {
            ending.note_input(seen);
            ending.freeze(Cause::Asked)
        } else if detail.state == TcpState::Closed {
            ending.observe_at(0, seen)
        } else if fin {
            // The first look is not at the input, and with everything acknowledged
            // there would be no other.
            ending.note_input(seen);
            Step::then(Action::Look)
        } else {
            ending.note_input(seen);
            ending.fin_sent = true;
            ending.fin_fresh = true;
            Step::then(Action::SendFin)
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

    /// When the ending must be observed again even if nothing happens.
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

    /// Whether the peer sent nothing since the close began, and left nothing
    /// unread before: then nothing suggests that late input will come.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_quiet(&self) -> bool {
        self.drained == 0
    }

    /// Whether closing the descriptor has no effect on the connection.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Reported, and only late input matters any more.
    pub(crate) fn is_holding(&self) -> bool {
        self.phase == Phase::Holding
    }

    /// The kernel would not take a FIN: the connection ended just before.
    pub(crate) fn fin_refused(&mut self) {
        self.fin_sent = false;
        self.fin_fresh = false;
    }

    /// The report of an ending that its caller does not await any longer.
    pub(crate) fn detached(&self, at: Duration, seen: &Observation) -> Report {
        self.detached_at(nanos(at), seen)
    }

    fn detached_at(&self, at: Nanos, seen: &Observation) -> Report {
        Report {
            lost: (self.payload(seen.queued) == 0).then_some(0),
            ..self.report(Fate::Detached, at, seen, false, None)
        }
    }

    /// What follows from `seen`, `at` this time since the ending began.
    pub(crate) fn observe(&mut self, at: Duration, seen: &Observation) -> Step {
        self.observe_at(nanos(at), seen)
    }

    fn observe_at(&mut self, at: Nanos, seen: &Observation) -> Step {
        self.note_input(seen);
        if let Some(look) = self.note_who_closed_first(seen) {
            return look;
        }
        let closed = seen
            .detail
            .filter(|detail| detail.state == TcpState::Closed);
        self.gone = closed.is_some() || (self.eof && self.fin_sent && seen.queued == 0);
        match self.phase {
            Phase::Flushing => {
                if self.fin_sent && seen.queued == 0 {
                    self.delivered(at, seen)
                } else if let Some(detail) = closed {
                    self.broken(at, seen, &detail)
                } else {
                    self.note_progress(at, seen);
                    self.overdue(at, seen)
                }
            }
            Phase::AwaitingPeer => match closed.and_then(|detail| detail.error) {
                _ if self.eof => self.confirmed(at, seen),
                Some(error) => self.end(at, seen, Fate::Reset, Some(as_reset(error))),
                // Both FINs have passed: only then is a connection gone without
                // an error.
                None if closed.is_some() => self.confirmed(at, seen),
                None if at >= self.deadline => {
                    self.end(at, seen, Fate::TimedOut, Some(Errno::EWOULDBLOCK))
                }
                None => Step::then(Action::Wait),
            },
            Phase::Holding => {
                if self.eof || closed.is_some() || seen.unread > 0 || at >= self.deadline {
                    self.over(Action::Close)
                } else {
                    Step::then(Action::Wait)
                }
            }
            Phase::Frozen(cause) => match seen.detail {
                Some(detail) => self.frozen(at, seen, &detail, cause),
                None => Step::then(Action::Look),
            },
            Phase::Over => Step::then(Action::Close),
        }
    }

    fn note_input(&mut self, seen: &Observation) {
        self.drained += seen.drained;
        self.drain_left = self.drain_left.saturating_sub(seen.drained);
        self.eof |= seen.eof;
    }

    /// Settles whose FIN was first. A peer's FIN that shows in the first look
    /// after ours may have come before it; only the state can tell, and once the
    /// connection is gone nothing can.
    fn note_who_closed_first(&mut self, seen: &Observation) -> Option<Step> {
        if !std::mem::take(&mut self.fin_fresh) {
            return None;
        }
        match seen.detail {
            Some(detail) if detail.state.closed_first().is_some() => {
                self.closed_first = detail.state.closed_first();
            }
            Some(_) => {}
            // Both FINs have passed, so the state is gone.
            None if self.eof && seen.queued == 0 => {}
            None if self.eof => {
                self.fin_fresh = true;
                return Some(Step::then(Action::Look));
            }
            None => self.closed_first = Some(Side::Local),
        }
        None
    }

    fn note_progress(&mut self, at: Nanos, seen: &Observation) {
        if seen.queued < self.progress_queued {
            // The acknowledgement came at some time since the last look; the
            // kernel's clock narrows it.
            let since = seen.detail.map_or(0, |d| nanos(d.since_ack));
            self.progress_at = self.progress_at.max(at.saturating_sub(since));
            self.progress_queued = seen.queued;
        }
        let due = self.progress_at.saturating_add(self.stall);
        self.next_check = due.min(at.saturating_add(self.stall / 4)).max(at);
    }

    fn overdue(&mut self, at: Nanos, seen: &Observation) -> Step {
        if at >= self.deadline {
            return self.freeze(Cause::Deadline);
        }
        if at < self.progress_at.saturating_add(self.stall) {
            return Step::then(Action::Wait);
        }
        // Closing with unread input would throw the send queue away, so only a
        // clean one can be left to the kernel.
        if self.off && seen.unread == 0 {
            let report = self.detached_at(at, seen);
            return self.over(Action::Close).with(report);
        }
        self.freeze(Cause::Stall)
    }

    fn delivered(&mut self, at: Nanos, seen: &Observation) -> Step {
        if self.confirm {
            if self.eof {
                return self.confirmed(at, seen);
            }
            self.phase = Phase::AwaitingPeer;
            // The same look may already show how the peer's side ended.
            return self.observe_at(
                at,
                &Observation {
                    drained: 0,
                    ..*seen
                },
            );
        }
        let closed = seen.detail.is_some_and(|d| d.state == TcpState::Closed);
        if self.eof || closed || seen.unread > 0 {
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
        let report = self.report(Fate::Delivered, at, seen, false, None);
        self.phase = Phase::Holding;
        self.deadline = at.saturating_add(self.hold);
        Step::then(Action::Wait).with(report)
    }

    fn confirmed(&mut self, at: Nanos, seen: &Observation) -> Step {
        self.end(at, seen, Fate::Confirmed, None)
    }

    /// The connection is gone and something was not acknowledged.
    fn broken(&mut self, at: Nanos, seen: &Observation, detail: &Detail) -> Step {
        let (fate, error) = match detail.error.map(|error| (error, error.raw())) {
            Some((error, libc::ECONNRESET | libc::EPIPE)) => (Fate::Reset, Some(as_reset(error))),
            Some((error, _)) => (Fate::Failed, Some(error)),
            // An earlier read or write of the program's has taken the error, and
            // with it the reason.
            None if detail.unanswered => (Fate::Failed, None),
            None => (Fate::Reset, Some(Errno::ECONNRESET)),
        };
        self.end(at, seen, fate, error)
    }

    fn freeze(&mut self, cause: Cause) -> Step {
        self.phase = Phase::Frozen(cause);
        Step::then(Action::Freeze)
    }

    fn frozen(&mut self, at: Nanos, seen: &Observation, detail: &Detail, cause: Cause) -> Step {
        if detail.state == TcpState::Closed && cause != Cause::Asked {
            // It ended by itself just before it was frozen.
            return if self.fin_sent && seen.queued == 0 {
                self.delivered(at, seen)
            } else {
                self.broken(at, seen, detail)
            };
        }
        // The last ACK came just in time.
        let late_success = self.fin_sent && seen.queued == 0;
        let (fate, error) = match cause {
            Cause::Asked => (Fate::Aborted, None),
            Cause::SkipTimeWait => (Fate::Delivered, None),
            Cause::Deadline | Cause::Stall if late_success => {
                return if self.confirm && !self.eof {
                    self.end(at, seen, Fate::TimedOut, Some(Errno::EWOULDBLOCK))
                } else if self.confirm {
                    self.confirmed(at, seen)
                } else {
                    self.end(at, seen, Fate::Delivered, None)
                };
            }
            Cause::Deadline => (Fate::TimedOut, Some(Errno::EWOULDBLOCK)),
            Cause::Stall => (Fate::Stalled, Some(Errno::EWOULDBLOCK)),
        };
        let rst = detail.state.abort_sends_rst(detail.unsent)
            || (seen.unread > 0 && detail.state != TcpState::Closed);
        if cause == Cause::Asked && rst && self.closed_first.is_none() {
            self.closed_first = Some(Side::Local);
        }
        let report = self.report(fate, at, seen, rst, error);
        self.over(Action::Abort).with(report)
    }

    /// Reports and closes in the ordinary way. Unread input makes the kernel
    /// send an RST then (RFC 2525 §2.17).
    fn end(&mut self, at: Nanos, seen: &Observation, fate: Fate, error: Option<Errno>) -> Step {
        let gone = seen.detail.is_some_and(|d| d.state == TcpState::Closed);
        let rst = seen.unread > 0 && !gone;
        let report = self.report(fate, at, seen, rst, error);
        self.over(Action::Close).with(report)
    }

    fn over(&mut self, action: Action) -> Step {
        self.phase = Phase::Over;
        Step::then(action)
    }

    /// Payload in the send queue: a queue that is not empty ends with our FIN.
    fn payload(&self, queued: u64) -> u64 {
        queued - u64::from(self.fin_sent && queued > 0)
    }

    fn report(
        &self,
        fate: Fate,
        at: Nanos,
        seen: &Observation,
        rst: bool,
        error: Option<Errno>,
    ) -> Report {
        let lost = self.payload(seen.queued);
        let unsent = match seen.detail {
            Some(detail) => Some(self.payload(detail.unsent).min(lost)),
            None => (lost == 0).then_some(0),
        };
        Report {
            fate,
            acked: self.written.map(|written| written.saturating_sub(lost)),
            lost: Some(lost),
            unsent,
            unread: Some(self.drained + seen.unread),
            rst_sent: Some(rst),
            closed_first: self.closed_first,
            elapsed: Duration::from_nanos(at),
            error,
        }
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

/// The peer's RST, whatever the kernel calls it: in CLOSE_WAIT Linux says EPIPE.
fn as_reset(error: Errno) -> Errno {
    match error.raw() {
        libc::EPIPE => Errno::ECONNRESET,
        _ => error,
    }
}
