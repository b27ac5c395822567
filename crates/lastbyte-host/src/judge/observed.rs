//! The verdict when the transitions are known.

use lastbyte::{Errno, Fate, Side};

use super::cleared::{cleared_bytes, never_accepted_bytes};
use super::control::Signs;
use super::{After, Case, Verdict, counts};
use crate::ending::{Bytes, Evidence, Rst};
use crate::evidence::history::{End, History};
use crate::evidence::payload::payload;
use crate::reason::Reason;
use crate::tuple::State;

/// Judges an ending whose last transition, `end`, is known.
pub(super) fn observed(case: &Case<'_>, history: &History, end: End, signs: &Signs) -> Verdict {
    let rst_side = rst_side(case, history);
    let gave_up = gave_up(case);
    // The peer's FIN may have come after the socket was gone.
    let unresolved = end.from == State::FinWait2 && signs.fin_received.is_none();
    let fate = fate(case, history, end, signs, rst_side);
    let closed_first = history.closed_first.or(match rst_side {
        Some(side) if gave_up.is_none() && !history.crossed => Some(side),
        _ => None,
    });
    // That the peer had not closed is not known where the table was asked in vain, or not
    // at all.
    let whole = !(unresolved || case.blind || history.broken || signs.cleared);
    Verdict {
        fate,
        error: gave_up
            .filter(|_| fate == Some(Fate::Failed))
            .map(Errno::from_raw),
        closed_first,
        rst: rst(case, history, rst_side, unresolved),
        bytes: bytes(case, history, signs, fate),
        evidence: match whole && history.from_start {
            true => Evidence::Observed,
            false => Evidence::Inferred,
        },
        ask: unresolved && case.after == After::NotAsked,
    }
}

/// Who sent the RST that ended the connection, if that is known.
fn rst_side(case: &Case<'_>, history: &History) -> Option<Side> {
    let answered = history.sent_reset.is_some_and(|reset| reset.answers);
    match (history.sent_reset, history.got_reset) {
        (Some(_), _) if answered || !history.got_reset => Some(Side::Local),
        // Our own RST to a segment it could not take looks the same at first.
        (_, true) if !case.blind => Some(Side::Peer),
        _ => None,
    }
}

/// What the kernel gave up with, as opposed to what an RST leaves behind.
fn gave_up(case: &Case<'_>) -> Option<i32> {
    let of_rst = |e: &i32| matches!(*e, libc::ECONNRESET | libc::EPIPE | libc::ECONNREFUSED);
    case.errno.filter(|e| !of_rst(e))
}

fn fate(
    case: &Case<'_>,
    history: &History,
    end: End,
    signs: &Signs,
    rst_side: Option<Side>,
) -> Option<Fate> {
    let fin_acked = fin_acked(case, history, end, signs.cleared);
    match rst_side {
        _ if fin_acked == Some(true) && signs.fin_received == Some(true) => Some(Fate::Confirmed),
        _ if fin_acked == Some(true) => Some(Fate::Delivered),
        _ if gave_up(case).is_some() => Some(Fate::Failed),
        None if fin_acked.is_none() => None,
        Some(Side::Local) => Some(Fate::Aborted),
        Some(Side::Peer) => Some(Fate::Reset),
        None if case.blind || history.broken => None,
        None if end.in_process => Some(Fate::Aborted),
        // A timer gave it up. Of a socket that nobody held the kernel reports no error.
        None => Some(Fate::Failed),
    }
}

/// Whether our FIN was acknowledged; `None` where a disconnect has cleared that.
fn fin_acked(case: &Case<'_>, history: &History, end: End, cleared: bool) -> Option<bool> {
    let reset = history.sent_reset.is_some() || cleared && history.got_reset;
    match end.from {
        State::FinWait2 => Some(true),
        State::Closing | State::LastAck if cleared && !reset => {
            // It was cleared later, unless a process did both. (What arrives while a
            // process is at the socket is taken in that process.) A timer that ended
            // it would have reported an error to whoever held it.
            let held = history.outlived_end() == Some(true);
            (held && case.errno.is_none()).then_some(true)
        }
        // An RST ends these without the last ACK.
        State::Closing | State::LastAck => Some(!cleared && !reset && case.socket.wqueue == 0),
        _ => Some(false),
    }
}

fn rst(case: &Case<'_>, history: &History, side: Option<Side>, unresolved: bool) -> Option<Rst> {
    match side {
        Some(Side::Local) => Some(Rst::By {
            side: Side::Local,
            reason: history.sent_reset.and_then(|reset| reset.reason),
            listener: history.listener_closed,
        }),
        Some(Side::Peer) => Some(peers_rst(case)),
        // An RST ends the small socket that waits for the peer's FIN, too.
        None if unresolved && case.after == After::Nothing && case.peer_reset_later => {
            Some(peers_rst(case))
        }
        None if unresolved || case.blind && case.after != After::TimeWait => None,
        None => Some(Rst::None),
    }
}

fn peers_rst(case: &Case<'_>) -> Rst {
    let (reason, listener) = case.peer_reason.unwrap_or_default();
    Rst::By {
        side: Side::Peer,
        reason,
        listener,
    }
}

fn bytes(case: &Case<'_>, history: &History, signs: &Signs, fate: Option<Fate>) -> Bytes {
    if signs.cleared {
        return match history.listener_closed {
            true => never_accepted_bytes(case),
            false => cleared_bytes(case),
        };
    }
    let Some(counts) = counts(case.socket) else {
        return Bytes::default();
    };
    let bytes = payload(&counts, case.socket.queues(), &signs.control);
    let discards = history
        .sent_reset
        .and_then(|reset| reset.reason)
        .is_some_and(Reason::discards_input);
    // After the peer's FIN nothing can arrive.
    let unseen = case.blind && fate != Some(Fate::Confirmed);
    Bytes {
        unread: bytes.unread.filter(|_| !discards && !unseen),
        ..bytes
    }
}
