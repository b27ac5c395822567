//! Payload out of counters that SYN and FIN are mixed into, and what tells how many of
//! these two are in them.

use lastbyte_tcp::info::Counters;

use crate::ending::Bytes;
use crate::tuple::Role;

/// What is known of SYN and FIN in a socket's counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Control {
    /// Who sent the SYN.
    pub role: Option<Role>,
    /// Whether our FIN was queued.
    pub fin_queued: Option<bool>,
    /// Whether the peer's FIN is in the counters.
    pub fin_counted: Option<bool>,
}

/// How many of SYN and FIN are in the sequence numbers used so far. `None` when that is
/// no possible number.
#[must_use]
pub(crate) fn control_bytes(counts: &Counters, wqueue: u32) -> Option<u64> {
    let control = counts.send_counts(wqueue.into()).control();
    control.filter(|control| *control <= 2)
}

/// Who sent the SYN, by the number of SYN and FIN in the counters.
#[must_use]
pub(crate) fn role(control: u64, port_listens: bool) -> Option<Role> {
    match control {
        0 => Some(Role::Accepted),
        2 => Some(Role::Connected),
        // One of SYN and FIN: a port that listens does not connect.
        _ if port_listens => Some(Role::Accepted),
        _ => None,
    }
}

/// How many sequence numbers our SYN took among those acknowledged.
#[must_use]
pub(crate) const fn syn(role: Role) -> u64 {
    match role {
        Role::Connected => 1,
        Role::Accepted => 0,
    }
}

/// Payload alone, from the counters and the lengths of the queues.
#[must_use]
pub(crate) fn payload(counts: &Counters, (rqueue, wqueue): (u32, u32), control: &Control) -> Bytes {
    let (rqueue, wqueue) = (u64::from(rqueue), u64::from(wqueue));
    let fin_queued = control.fin_queued.map(u64::from);
    let fin_received = control.fin_counted.map(u64::from);
    // The FIN comes last: while anything is queued, it is.
    let fin_acked = if wqueue == 0 { fin_queued } else { Some(0) };
    let acked = (|| counts.acked.checked_sub(syn(control.role?) + fin_acked?))();
    let lost = if wqueue == 0 {
        Some(0)
    } else {
        fin_queued.and_then(|fin| wqueue.checked_sub(fin))
    };
    let unread = if rqueue == 0 {
        Some(0)
    } else {
        fin_received.and_then(|fin| rqueue.checked_sub(fin))
    };
    Bytes {
        sent: (|| acked?.checked_add(lost?))(),
        acked,
        received: fin_received.and_then(|fin| counts.received.checked_sub(fin)),
        lost,
        unread,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_syn_and_fin_tells_who_connected() {
        for listens in [true, false] {
            assert_eq!(role(0, listens), Some(Role::Accepted));
            assert_eq!(role(2, listens), Some(Role::Connected));
        }
        // One of the two: a port that listens does not connect.
        assert_eq!(role(1, true), Some(Role::Accepted));
        assert_eq!(role(1, false), None);
    }

    #[test]
    fn fins_come_before_these_states() {
        use lastbyte_tcp::State::{self, *};
        let states = |comes_before: fn(State) -> bool| -> Vec<State> {
            State::ALL
                .into_iter()
                .filter(|state| comes_before(*state))
                .collect()
        };
        assert_eq!(
            states(State::fin_queued),
            [FinWait1, FinWait2, TimeWait, LastAck, Closing]
        );
        assert_eq!(
            states(State::peer_closed),
            [TimeWait, CloseWait, LastAck, Closing]
        );
    }

    #[test]
    fn payload_is_counted_without_syn_and_fin() {
        let counts = Counters {
            acked: 102,
            received: 31,
            ..Counters::default()
        };
        let control = |role, fin_queued, fin_counted| Control {
            role,
            fin_queued: Some(fin_queued),
            fin_counted: Some(fin_counted),
        };
        let (connected, accepted) = (Some(Role::Connected), Some(Role::Accepted));
        let all = payload(&counts, (11, 0), &control(connected, true, true));
        assert_eq!(
            (all.acked, all.lost, all.sent),
            (Some(100), Some(0), Some(100))
        );
        assert_eq!((all.received, all.unread), (Some(30), Some(10)));
        // The FIN comes last: while anything is queued, it is.
        let some = payload(&counts, (0, 41), &control(accepted, true, false));
        assert_eq!(
            (some.acked, some.lost, some.sent),
            (Some(102), Some(40), Some(142))
        );
        assert_eq!((some.received, some.unread), (Some(31), Some(0)));
        // What is not known is in no sum.
        let unknown = payload(&counts, (11, 41), &Control::default());
        assert_eq!(unknown, Bytes::default());
    }
}
