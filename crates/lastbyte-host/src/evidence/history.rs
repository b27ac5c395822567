//! What the tracepoints told of one socket.

use std::time::Duration;

use lastbyte::Side;

use crate::ending::StateTimes;
use crate::process::Process;
use crate::reason::Reason;
use crate::tuple::Role;
use crate::tuple::{State, Tuple};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) type Nanos = u64;

/// Who made a step by a system call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actor {
    /// The thread by its number in the first pid namespace.
    pub thread: u32,
    /// Its process; `None` where that is outside the watch's pid namespace.
    pub process: Option<Process>,
}

/// One socket's life, as far as its transitions were seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    /// The ends, as whole as they ever were.
    pub tuple: Tuple,
    /// When it was established.
    pub opened: Option<Nanos>,
    /// Who connected, or was connected to.
    pub role: Option<Role>,
    /// The process that connected.
    pub opener: Option<Process>,
    /// The process whose close, shutdown or exit began our side's end.
    pub closer: Option<Process>,
    /// The process that let the last descriptor go, where that came last.
    pub releaser: Option<Process>,
    /// Whose FIN or RST came first.
    pub closed_first: Option<Side>,
    /// Time in closing states.
    pub times: StateTimes,
    /// How it came to `CLOSE`.
    pub end: Option<End>,
    /// Both FINs crossed: neither came first.
    pub crossed: bool,
    /// The process that had the kernel destroy it, as ss -K does.
    pub destroyer: Option<Process>,
    /// Our RST.
    pub sent_reset: Option<SentReset>,
    /// The kernel reset it, by the peer's RST unless [`sent_reset`](Self::sent_reset)
    /// answered a segment.
    pub got_reset: bool,
    /// Its listener was closed before anyone accepted it.
    pub listener_closed: bool,
    /// When the socket was destroyed, and whether a process did it.
    pub destroyed: Option<(Nanos, bool)>,
    /// A step is missing between two that were told.
    pub broken: bool,
    /// The first step that was told is the one that begins a connection.
    pub from_start: bool,
    /// Our FIN's ACK was taken while no system call held the socket.
    acked_outside_a_call: bool,
    state: Option<State>,
    entered: Option<Nanos>,
}

/// The last transition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// When.
    pub at: Nanos,
    /// The state it left.
    pub from: State,
    /// Whether a process did it by a system call.
    pub in_process: bool,
    /// Since when every step was told: when it came into the state it left. `None`
    /// when nothing earlier is known.
    pub whole_since: Option<Nanos>,
}

/// Our RST.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentReset {
    /// Why.
    pub reason: Option<Reason>,
    /// Whether a segment provoked it.
    pub answers: bool,
}

impl History {
    /// Of a socket first heard of now.
    #[must_use]
    pub(crate) fn new(tuple: Tuple) -> Self {
        Self {
            tuple,
            opened: None,
            role: None,
            opener: None,
            closer: None,
            releaser: None,
            closed_first: None,
            times: StateTimes::default(),
            end: None,
            crossed: false,
            destroyer: None,
            sent_reset: None,
            got_reset: false,
            listener_closed: false,
            destroyed: None,
            broken: false,
            from_start: false,
            acked_outside_a_call: false,
            state: None,
            entered: None,
        }
    }

    /// When it was last heard of.
    #[must_use]
    pub(crate) fn heard(&self) -> Nanos {
        self.entered.unwrap_or(0)
    }

    /// Whether a step of these ends is of another socket, which got the address in
    /// the kernel later: the end of this one was missed.
    #[must_use]
    pub(crate) fn is_over(&self, tuple: Tuple, old: State) -> bool {
        // The step into SYN_RECV is not asked for.
        let opens_again = old == State::SynReceived && !matches!(self.state, Some(State::SynSent));
        opens_again || self.is_of_others(tuple)
    }

    /// Whether these ends are not this socket's.
    #[must_use]
    pub(crate) fn is_of_others(&self, tuple: Tuple) -> bool {
        tuple.is_whole() && self.tuple.is_whole() && tuple != self.tuple
    }

    /// A transition. `actor` is who made it, if a process did.
    pub(crate) fn transition(&mut self, at: Nanos, old: State, new: State, actor: Option<Actor>) {
        let process = actor.and_then(|actor| actor.process);
        self.learn_ends(old, new);
        if self.state.is_none() {
            // The step from LISTEN into SYN_RECV is not asked for.
            self.from_start = matches!(old, State::Closed | State::Listen | State::SynReceived);
        }
        if self.state.is_some_and(|state| state != old) && old != State::SynReceived {
            self.broken = true;
            self.entered = None;
        }
        self.state = Some(new);
        match (old, new) {
            (State::Closed, State::SynSent) => {
                self.role = Some(Role::Connected);
                self.opener = process;
            }
            (State::SynSent, State::Established) => {
                self.role = Some(Role::Connected);
                self.opened = Some(at);
            }
            (State::SynReceived, State::Established) => {
                self.role.get_or_insert(Role::Accepted);
                self.opened = Some(at);
            }
            (State::Established | State::SynReceived, State::FinWait1) => {
                self.closed_first.get_or_insert(Side::Local);
                self.closer = process.or(self.closer);
            }
            (_, State::Closing) => {
                self.crossed = true;
                self.closed_first = None;
            }
            (State::FinWait1, State::FinWait2) => self.acked_outside_a_call = actor.is_none(),
            (_, State::LastAck) => self.closer = process.or(self.closer),
            _ => {}
        }
        self.spend(at, old);
        let whole_since = self.entered.replace(at);
        if new == State::Closed {
            self.come_to_end(
                process,
                End {
                    at,
                    from: old,
                    in_process: actor.is_some(),
                    whole_since,
                },
            );
        }
    }

    fn come_to_end(&mut self, process: Option<Process>, end: End) {
        self.end = Some(end);
        // A process that aborts has closed, unless our side was closing already;
        // a reset's or a timer's end has no closer.
        if self.is_destroyed_from_outside() {
            self.destroyer = process;
        } else if matches!(
            end.from,
            State::SynSent | State::SynReceived | State::Established | State::CloseWait
        ) {
            self.closer = self.closer.or(process.filter(|_| !self.got_reset));
        }
    }

    /// Whether a process, its owner or not, had the kernel destroy it.
    #[must_use]
    pub(crate) fn is_destroyed_from_outside(&self) -> bool {
        let reason = self.sent_reset.and_then(|reset| reset.reason);
        reason == Some(Reason::DESTROYED)
    }

    /// Whether a descriptor still held the socket when the connection ended; an
    /// orphan is destroyed at once, where it ends. `None` when both happened in
    /// system calls, perhaps the same.
    #[must_use]
    pub(crate) fn outlived_end(&self) -> Option<bool> {
        let (_, by_process) = self.destroyed?;
        match (self.end?.in_process, by_process) {
            (false, true) => Some(true),
            (false, false) => Some(false),
            (true, _) => None,
        }
    }

    /// Whether the peer's FIN had come, and an RST may have followed it.
    #[must_use]
    pub(crate) fn ended_after_peers_fin(&self) -> Option<bool> {
        let end = self.end?;
        Some(matches!(end.from, State::CloseWait | State::LastAck))
    }

    /// Whether a process let the descriptor go after its FIN was acknowledged: it had
    /// shut down its sending side before, and did not wait for the peer's FIN. `None`
    /// where the descriptor went earlier, or when is not known.
    ///
    /// One close() can go through FIN_WAIT2 as well: where the ACK comes while it holds
    /// the socket's lock, it takes it itself (`__tcp_close` in `net/ipv4/tcp.c`). It does
    /// not stay there.
    #[must_use]
    pub(crate) fn let_go_half_closed(&self) -> Option<bool> {
        const LONGER_THAN_A_CALL: Nanos = 100_000_000;
        let end = self.end?;
        let stayed = end.at.saturating_sub(end.whole_since?);
        let before = self.acked_outside_a_call || stayed >= LONGER_THAN_A_CALL;
        (end.from == State::FinWait2 && end.in_process && before).then_some(true)
    }

    /// Whether the system call that ended the connection let the socket go as well, as
    /// far as time tells: a close, and no disconnect.
    #[must_use]
    pub(crate) fn ended_by_close(&self) -> bool {
        const SOON: Nanos = 1_000_000_000;
        match (self.end, self.destroyed) {
            (Some(end), Some((at, by_process))) => {
                end.in_process && by_process && at.saturating_sub(end.at) < SOON
            }
            _ => false,
        }
    }

    /// States before `new` tell what was missed when watching began late.
    fn learn_ends(&mut self, old: State, new: State) {
        self.crossed |= old == State::Closing;
        if self.closed_first.is_none() && !self.crossed {
            match (old, new) {
                (State::FinWait1 | State::FinWait2, _) => {
                    self.closed_first = Some(Side::Local);
                }
                (State::CloseWait | State::LastAck, _) => self.closed_first = Some(Side::Peer),
                _ => {}
            }
        }
    }

    fn spend(&mut self, at: Nanos, state: State) {
        let slot = match state {
            State::FinWait1 => &mut self.times.fin_wait1,
            State::FinWait2 => &mut self.times.fin_wait2,
            State::Closing => &mut self.times.closing,
            State::CloseWait => &mut self.times.close_wait,
            State::LastAck => &mut self.times.last_ack,
            _ => return,
        };
        // Entered before the watch began: not known, not zero.
        if let Some(entered) = self.entered {
            *slot = Some(Duration::from_nanos(at.saturating_sub(entered)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Endpoint;

    /// Shut down at 0; the ACK of the FIN at 1000, taken by a call or not; gone at `gone`.
    fn half_closed(ack_in_call: bool, gone: Nanos) -> Option<bool> {
        let process = Some(Actor {
            thread: 7,
            process: None,
        });
        let mut history = History::new(Tuple {
            local: Endpoint::UNKNOWN,
            remote: Endpoint::UNKNOWN,
        });
        history.transition(0, State::Established, State::FinWait1, process);
        let actor = process.filter(|_| ack_in_call);
        history.transition(1000, State::FinWait1, State::FinWait2, actor);
        history.transition(gone, State::FinWait2, State::Closed, process);
        history.let_go_half_closed()
    }

    #[test]
    fn a_close_that_takes_the_ack_itself_is_no_half_close() {
        assert_eq!(half_closed(true, 5000), None);
        assert_eq!(half_closed(true, 500_000_000), Some(true));
        assert_eq!(half_closed(false, 5000), Some(true));
    }
}
