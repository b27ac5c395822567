//! From what is known of an ended connection to its [`Ending`].

use super::waiting::Waiting;
use super::{Finished, MOMENT, Tracker};
use crate::ending::{Ending, Evidence, Manner, StateTimes};
use crate::evidence::history::{History, Nanos};
use crate::judge::{After, Case, Verdict, judge};
use crate::process::Process;
use crate::tuple::State;

impl Tracker {
    /// Judges by all that is known now.
    pub(super) fn judge(&self, waiting: &Waiting) -> Verdict {
        let tuple = waiting.whole_tuple();
        let history = waiting.history.as_deref();
        let opened = waiting.opened();
        let errno = history
            .and_then(|_| self.errors.find(&tuple))
            .filter(|(when, _)| *when >= opened);
        let peer_reason = self
            .resets
            .find(&tuple.reversed())
            .filter(|(when, _)| *when >= opened);
        judge(&Case {
            socket: &waiting.socket,
            history,
            blind: history.is_some_and(|history| self.was_blind(history, waiting.last)),
            sample: waiting.sample.as_deref(),
            mptcp: self.is_mptcp(waiting) == Some(true),
            at: waiting.at,
            told: waiting.told,
            port_listens: self.listens_in(waiting.socket.space, waiting.socket.tuple.local.port),
            errno: errno.map(|(_, errno)| errno),
            peer_reason: peer_reason.map(|(_, reason)| reason),
            peer_reset_later: peer_reason.is_some_and(|(when, _)| when >= waiting.at),
            after: waiting.last,
        })
    }

    /// Whether it is a subflow of an MPTCP connection; `None` where that cannot be
    /// seen: of a further subflow that no dump has shown.
    fn is_mptcp(&self, waiting: &Waiting) -> Option<bool> {
        let named = waiting.history.is_some()
            && self
                .mptcp
                .find(&waiting.whole_tuple())
                .is_some_and(|(when, ())| when >= waiting.opened());
        let sampled = waiting.sample.as_deref().map(|sample| sample.mptcp);
        if named { Some(true) } else { sampled }
    }

    /// Whether an RST, or what else ended the connection, may have gone unseen. A
    /// gap before the state that it left last does not matter: an RST would have
    /// ended it then.
    fn was_blind(&self, history: &History, last: After) -> bool {
        let Some(end) = history.end else { return false };
        if end.at < self.certain_since() {
            return true;
        }
        let Some(since) = end.whole_since else {
            return history.broken || self.gaps.any() || self.counts.unfollowed > 0;
        };
        // While the peer's FIN is waited for, one may still come.
        let until = match (last, history.destroyed) {
            (After::NotAsked | After::TimeWait, Some((at, _))) => at.saturating_add(MOMENT),
            _ => Nanos::MAX,
        };
        self.gaps.touch(since, until)
    }

    /// Judges an ending of which nothing more is waited for, and hands it over.
    pub(super) fn end(&mut self, waiting: &Waiting) {
        let verdict = self.judge(waiting);
        self.finish(waiting, &verdict);
    }

    /// Hands over an ending with its verdict.
    pub(super) fn finish(&mut self, waiting: &Waiting, verdict: &Verdict) {
        let mptcp = self.is_mptcp(waiting);
        let history = waiting.history.as_deref();
        let of_sample = waiting.sample.as_ref().and_then(|sample| sample.owner);
        let owner = of_sample.map(|(process, _)| process);
        let evidence = match self.tracing {
            true => verdict.evidence,
            false => Evidence::Inferred,
        };
        self.finished.push(Finished {
            at: waiting.at,
            opened: history.and_then(|history| history.opened),
            space: waiting.socket.space,
            ending: Ending {
                time: std::time::UNIX_EPOCH,
                opened: None,
                tuple: waiting.whole_tuple(),
                owner: owner.or_else(|| owner_by_history(history?, mptcp)),
                closer: self.closer(waiting, verdict, mptcp),
                fate: verdict.fate,
                error: verdict.error,
                closed_first: verdict.closed_first,
                rst: verdict.rst,
                bytes: verdict.bytes,
                mptcp,
                netns: None,
                cgroup: None,
                states: history.and_then(|history| state_times(history, waiting.last)),
                evidence,
                manner: manner(waiting),
            },
        });
    }

    /// The process that closed it, where that is certain.
    fn closer(&self, waiting: &Waiting, verdict: &Verdict, mptcp: Option<bool>) -> Option<Process> {
        let history = waiting.history.as_deref()?;
        // Whoever ran when it ended may have met a peer's RST that went unseen.
        let by_end = history.end.is_some_and(|end| !end.from.fin_queued());
        // Nor has one closed it that was at the socket when a timer ran out: the kernel
        // waits for it to leave, and then gives up in its name.
        let by_timer = verdict.error.is_some() && history.destroyer.is_none();
        let unsure = by_end && (by_timer || self.was_blind(history, waiting.last));
        // A subflow is closed by a thread of the kernel, whoever closed the whole.
        let closer = history.closer.or(history.destroyer);
        closer.filter(|_| !unsure && mptcp != Some(true))
    }
}

/// The process that had it open, as far as its steps show.
fn owner_by_history(history: &History, mptcp: Option<bool>) -> Option<Process> {
    if history.listener_closed {
        None
    } else if mptcp == Some(true) {
        history.opener
    } else {
        history.closer.or(history.opener).or(history.releaser)
    }
}

/// The time in each closing state of a connection whose end was seen.
fn state_times(history: &History, last: After) -> Option<StateTimes> {
    let end = history.end?;
    let mut times = history.times;
    // It went on in a smaller socket, whose time nobody reports, unless our RST ended it.
    let moved = end.from == State::FinWait2 && !matches!(last, After::NotAsked | After::Reset(_));
    if moved {
        times.fin_wait2 = None;
    }
    Some(times)
}

fn manner(waiting: &Waiting) -> Manner {
    let history = waiting.history.as_deref();
    let sample = waiting.sample.as_deref();
    Manner {
        role: history
            .and_then(|history| history.role)
            .or_else(|| sample?.role),
        held: history.and_then(History::outlived_end),
        half_closed: history.and_then(History::let_go_half_closed),
        peer_closed: history.and_then(History::ended_after_peers_fin),
    }
}
