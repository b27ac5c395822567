//! The counts of a socket that a disconnect has cleared.

use super::Case;
use crate::ending::Bytes;
use crate::evidence::payload::{Control, control_bytes, payload, role};

/// Nobody had it to write to, or to read from: what the last look said had come.
pub(super) fn never_accepted_bytes(case: &Case<'_>) -> Bytes {
    let received = case
        .sample
        .filter(|sample| sample.unmoved_until(case.socket, case.at, case.told))
        .and_then(|sample| {
            let fin = u64::from(sample.state.peer_closed());
            sample.counts?.received.checked_sub(fin)
        });
    Bytes {
        sent: Some(0),
        acked: Some(0),
        lost: Some(0),
        received,
        unread: received,
    }
}

/// What is known of a socket that was wiped: what the last look said, provided that
/// nothing has moved in between.
pub(super) fn cleared_bytes(case: &Case<'_>) -> Bytes {
    let known = Bytes {
        // With input unread, a close would not have wiped it.
        unread: case
            .history
            .filter(|history| history.ended_by_close())
            .map(|_| 0),
        ..Bytes::default()
    };
    let Some(sample) = case
        .sample
        .filter(|sample| sample.unmoved_until(case.socket, case.at, case.told))
    else {
        return known;
    };
    let Some(counts) = sample.counts else {
        return known;
    };
    let control = control_bytes(&counts, sample.wqueue);
    let role = case
        .history
        .and_then(|history| history.role)
        .or(sample.role)
        .or_else(|| role(control?, case.port_listens));
    let fin_received = sample.state.peer_closed();
    let at_sample = Control {
        role,
        fin_queued: Some(sample.state.fin_queued()),
        fin_counted: Some(fin_received),
    };
    let then = payload(&counts, (sample.rqueue, sample.wqueue), &at_sample);
    let took_no_more = sample.took_no_more(case.socket);
    Bytes {
        acked: then.acked,
        sent: then.sent.filter(|_| took_no_more),
        lost: then.lost.filter(|_| took_no_more),
        // More may have come since, and left no trace, unless the FIN had come.
        received: then.received.filter(|_| fin_received),
        ..known
    }
}
