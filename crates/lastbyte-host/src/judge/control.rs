//! What the evidence says of SYN and FIN, which the counters mix with payload.

use super::{After, Case, counts};
use crate::evidence::payload::{Control, control_bytes, role, syn};
use crate::tuple::State;
use lastbyte_tcp::info::Counters;

/// What is known of SYN and FIN.
pub(super) struct Signs {
    /// What of SYN and FIN is in the counters.
    pub(super) control: Control,
    /// Whether the peer's FIN has come, perhaps after the counters were taken.
    pub(super) fin_received: Option<bool>,
    /// Whether a disconnect has cleared the socket: then its counters mean nothing.
    pub(super) cleared: bool,
}

impl Signs {
    pub(super) fn read(case: &Case<'_>) -> Self {
        let cleared = case.socket.tuple.remote.port == 0;
        let counts = counts(case.socket).filter(|_| !cleared);
        let control = counts.and_then(|c| control_bytes(&c, case.socket.wqueue));
        let role = case
            .history
            .and_then(|history| history.role)
            .or(case.sample.and_then(|sample| sample.role))
            .or_else(|| role(control?, case.port_listens));
        let fin_sent = match (control, role) {
            (Some(control), Some(role)) => Some(control > syn(role)),
            _ => None,
        };
        Self {
            control: Control {
                role,
                fin_queued: fin_queued(case, fin_sent, counts),
                fin_counted: fin_counted(case, counts),
            },
            fin_received: fin_received(case),
            cleared,
        }
    }
}

fn fin_queued(case: &Case<'_>, fin_sent: Option<bool>, counts: Option<Counters>) -> Option<bool> {
    if let Some(end) = case.history.and_then(|history| history.end) {
        return Some(end.from.fin_queued());
    }
    if case.sample.is_some_and(|sample| sample.state.fin_queued()) || fin_sent == Some(true) {
        return Some(true);
    }
    // It may be queued behind what was never transmitted.
    let all_sent = counts?.unsent == 0;
    fin_sent.filter(|_| all_sent)
}

fn fin_received(case: &Case<'_>) -> Option<bool> {
    match case.after {
        After::TimeWait => return Some(true),
        After::FinWait2 | After::Expired | After::Reset(_) => return Some(false),
        After::NotAsked | After::Nothing => {}
    }
    if let Some(history) = case.history
        && let Some(end) = history.end
    {
        match end.from {
            State::CloseWait | State::LastAck | State::Closing => return Some(true),
            State::FinWait2 if case.blind => return None,
            State::FinWait2 if !history.got_reset && history.sent_reset.is_none() => {
                // The peer's FIN, or the move of an orphan into a smaller
                // socket that waits for it.
                let held = history.outlived_end() == Some(true);
                return (case.socket.rqueue > 0 || held).then_some(true);
            }
            _ => return Some(false),
        }
    }
    let sample = case.sample?;
    sample.state.peer_closed().then_some(true)
}

/// Where the counts end: with or without the peer's FIN.
fn fin_counted(case: &Case<'_>, counts: Option<Counters>) -> Option<bool> {
    // Without payload, what was received is the FIN.
    if let Some(counts) = counts
        && counts.data_segments_in == 0
    {
        return Some(counts.received > 0);
    }
    let Some(history) = case.history else {
        return match case.after {
            // It came before the socket was gone, or after.
            After::TimeWait => (case.socket.rqueue > 0).then_some(true),
            _ => fin_received(case),
        };
    };
    match history.end?.from {
        // Nothing but TIME_WAIT shows that no RST ended it.
        State::FinWait2 if case.blind && case.after != After::TimeWait => None,
        State::FinWait2 if !history.got_reset && history.sent_reset.is_none() => {
            // An orphan's receive queue was empty when it was closed; only a FIN
            // takes a place in it since. A socket that outlived its end was still
            // held, and then nothing but the FIN ends it.
            if case.socket.rqueue > 0 {
                Some(true)
            } else {
                history.outlived_end()
            }
        }
        _ => fin_received(case),
    }
}
