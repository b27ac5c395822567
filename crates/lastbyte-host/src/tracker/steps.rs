//! What each tracepoint does to the histories.

use std::collections::HashSet;
use std::time::Duration;

use super::{DEAD, HISTORIES, Tracker};
use crate::evidence::history::{Actor, History, Nanos, SentReset};
use crate::judge::After;
use crate::parse::trace::{Event, Trace};
use crate::process::Process;
use crate::reason::Reason;
use crate::tuple::{State, Tuple};

impl Tracker {
    /// Steps were dropped, none of them before `from` or after `until`: whatever
    /// they would have told is not known. To be told before later steps.
    pub(crate) fn missed(&mut self, from: Nanos, until: Nanos) {
        self.gaps.add(from, until);
    }

    /// A tracepoint fired while `process` ran; `None` where it has no number here.
    pub(crate) fn trace(&mut self, at: Nanos, trace: &Trace, process: Option<Process>) {
        let thread = trace.thread;
        let actor = trace.in_process.then_some(Actor { thread, process });
        match trace.event {
            Event::SetState {
                sk,
                tuple,
                old,
                new,
            } => self.state(at, sk, tuple, old, new, actor),
            Event::SendReset {
                sk,
                tuple,
                reason,
                answers,
            } => {
                let reset = SentReset { reason, answers };
                self.send_reset(at, sk, tuple, reset, actor);
            }
            // It is told before its subflow is destroyed.
            Event::Mptcp { tuple } => {
                if tuple.is_whole() {
                    self.mptcp.insert(at, tuple, ());
                }
            }
            Event::ReceiveReset { sk, .. } => {
                // It fires before the step into CLOSE, which may be the first step
                // told of a connection older than the watch.
                if let Some(history) = self.history(sk, Tuple::UNKNOWN) {
                    history.got_reset = true;
                }
            }
            Event::Destroy { sk, cookie } => self.destroy(at, sk, cookie, actor),
            Event::Error { tuple, errno } => {
                if tuple.is_whole() {
                    self.errors.insert(at, tuple, errno);
                }
            }
        }
    }

    fn state(
        &mut self,
        at: Nanos,
        sk: u64,
        tuple: Tuple,
        old: State,
        new: State,
        actor: Option<Actor>,
    ) {
        match (old, new) {
            (State::Listen, State::Closed) => {
                if let Some(Actor { thread, .. }) = actor {
                    self.listener_closing.insert(thread, (sk, tuple.local.port));
                }
                return;
            }
            // A new life; whatever was known of the address is over.
            (State::Closed, State::SynSent) | (State::Listen, State::SynReceived) => {
                self.histories.remove(&sk);
            }
            _ => {}
        }
        if new == State::Listen {
            return;
        }
        let known = self.histories.get(&sk);
        if known.is_some_and(|history| history.is_over(tuple, old)) {
            self.histories.remove(&sk);
        }
        let closing = actor.and_then(|actor| self.listener_closing.get(&actor.thread));
        let closing = closing.map(|(_, port)| *port);
        let Some(history) = self.history(sk, tuple) else {
            return;
        };
        if tuple.is_whole() {
            history.tuple = tuple;
        }
        history.transition(at, old, new, actor);
        if new == State::Closed && closing.is_some() {
            history.listener_closed = closing == Some(history.tuple.local.port);
        }
    }

    /// The history of a socket, begun with these ends if it is new; `None` where there
    /// is no room for it.
    fn history(&mut self, sk: u64, tuple: Tuple) -> Option<&mut History> {
        let known = self.histories.contains_key(&sk);
        if !known && self.histories.len() >= HISTORIES && !self.forget_stale() {
            self.counts.unfollowed += 1;
            return None;
        }
        let history = self.histories.entry(sk);
        Some(history.or_insert_with(|| Box::new(History::new(tuple))))
    }

    fn send_reset(
        &mut self,
        at: Nanos,
        sk: u64,
        tuple: Tuple,
        mut reset: SentReset,
        actor: Option<Actor>,
    ) {
        let mut listener = false;
        // Where the kernel gives a connection up, it resets it before the step into
        // CLOSE, which may be the first step told of a connection older than the watch.
        if !reset.answers && sk != 0 && !self.dead_sk.contains_key(&sk) {
            let _ = self.history(sk, tuple);
        }
        let history = match self.dead_sk.get(&sk) {
            Some(cookie) if !self.histories.contains_key(&sk) => {
                self.dead.get_mut(cookie).map(|(_, history)| history)
            }
            _ => self.histories.get_mut(&sk),
        };
        // After missed steps the address may be another socket's by now.
        let history = history.filter(|history| !history.is_of_others(tuple));
        if let Some(history) = history {
            // Whoever closes has left the state before the RST goes out.
            let from_outside = actor.is_some() && !reset.answers && history.end.is_none();
            if from_outside && reset.reason == Some(Reason::STATE) {
                reset.reason = Some(Reason::DESTROYED);
            }
            history.sent_reset = Some(reset);
            listener = history.listener_closed;
        } else if let Some(reason) = reset.reason
            && let Some(place) = self.waiting_somewhere(tuple)
            && let Some(waiting) = self.waiting.get_mut(&place)
        {
            waiting.last = After::Reset(reason);
            if let Some(history) = &mut waiting.history {
                history.times.fin_wait2 = history
                    .end
                    .map(|end| Duration::from_nanos(at.saturating_sub(end.at)));
            }
            self.conclude(place);
        } else if reset.answers
            && (sk == 0 || !tuple.is_whole())
            && self.strays.len() < super::STRAYS
        {
            self.strays.push(tuple);
        }
        if tuple.is_whole() {
            self.resets.insert(at, tuple, (reset.reason, listener));
        }
    }

    /// Forgets sockets whose end must have been missed: heard of last before steps
    /// were dropped, and in the table of living sockets no more. Whether there is
    /// room now.
    fn forget_stale(&mut self) -> bool {
        let Some(gap) = self.gaps.last().filter(|gap| *gap > self.cleared) else {
            return false;
        };
        self.cleared = gap;
        let living: HashSet<Tuple> = self.samples.values().map(|sample| sample.tuple).collect();
        self.histories
            .retain(|_, history| history.heard() > gap || living.contains(&history.tuple));
        self.histories.len() < HISTORIES
    }

    fn destroy(&mut self, at: Nanos, sk: u64, cookie: u64, actor: Option<Actor>) {
        if let Some(Actor { thread, .. }) = actor
            && self
                .listener_closing
                .get(&thread)
                .is_some_and(|(listener, _)| *listener == sk)
        {
            self.listener_closing.remove(&thread);
        }
        let Some(mut history) = self.histories.remove(&sk) else {
            return;
        };
        let releaser = actor.and_then(|actor| actor.process);
        // Whoever destroyed an orphan never had it open.
        history.releaser = releaser.filter(|_| releaser != history.destroyer);
        history.destroyed = Some((at, actor.is_some()));
        if self.dead.len() >= DEAD
            && let Some((_, oldest)) = self.dead_order.pop_front()
            && self.forget_dead(oldest).is_some()
        {
            self.counts.unfollowed += 1;
        }
        self.dead.insert(cookie, (sk, history));
        self.dead_sk.insert(sk, cookie);
        self.dead_order.push_back((at, cookie));
    }
}
