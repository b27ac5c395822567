//! The verdict from the final counts and an earlier sample.

use lastbyte::{Fate, Side};

use super::cleared::cleared_bytes;
use super::control::Signs;
use super::{After, Case, Verdict, counts};
use crate::ending::{Bytes, Evidence, Rst};
use crate::evidence::payload::payload;
use crate::tuple::State;

/// Judges an ending whose last transition is not known.
pub(super) fn inferred(case: &Case<'_>, signs: &Signs) -> Verdict {
    let mut verdict = Verdict {
        fate: None,
        error: None,
        closed_first: case.sample.and_then(|sample| match sample.state {
            State::FinWait1 | State::FinWait2 => Some(Side::Local),
            State::CloseWait | State::LastAck => Some(Side::Peer),
            _ => None,
        }),
        rst: None,
        bytes: Bytes::default(),
        evidence: Evidence::Inferred,
        ask: false,
    };
    if signs.cleared {
        // A connection the peer had reset before can be wiped as well; one that
        // was alive at the last look was aborted.
        let alive = case
            .sample
            .is_some_and(|sample| sample.unmoved_until(case.socket, case.at, case.told));
        verdict.fate = alive.then_some(Fate::Aborted);
        verdict.bytes = cleared_bytes(case);
        return verdict;
    }
    let Some(counts) = counts(case.socket) else {
        return verdict;
    };
    verdict.bytes = payload(&counts, case.socket.queues(), &signs.control);
    if case.socket.wqueue > 0 || signs.control.fin_queued != Some(true) {
        if signs.control.fin_queued != Some(false) {
            // What arrives after close() is discarded uncounted.
            verdict.bytes.unread = None;
        }
        return verdict;
    }
    // All is acknowledged, our FIN included.
    let crossed = case
        .sample
        .is_some_and(|sample| sample.state == State::Closing);
    match case.after {
        After::TimeWait | After::FinWait2 | After::Expired if !crossed => {
            verdict.closed_first = Some(Side::Local);
        }
        After::NotAsked if verdict.closed_first != Some(Side::Peer) => verdict.ask = true,
        _ => {}
    }
    let confirmed = case.after == After::TimeWait || verdict.closed_first == Some(Side::Peer);
    verdict.fate = Some(if confirmed {
        Fate::Confirmed
    } else {
        Fate::Delivered
    });
    if case.after == After::TimeWait {
        verdict.rst = Some(Rst::None);
    }
    if !confirmed {
        verdict.bytes.unread = None;
    }
    verdict
}
