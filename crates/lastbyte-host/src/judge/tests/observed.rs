//! Endings whose last step is known.

use lastbyte::{Fate, Side};

use super::*;
use crate::evidence::history::SentReset;

#[test]
fn the_peers_fin_shows_in_the_receive_queue_or_by_the_end_of_what_was_held() {
    // (held, length of the receive queue, fate, received)
    for (held, rqueue, fate, received) in [
        (false, 1, Fate::Confirmed, Some(29)),
        (true, 0, Fate::Confirmed, Some(29)),
        (false, 0, Fate::Delivered, Some(30)),
    ] {
        let (socket, history) = (closed(rqueue), fin_wait2(held));
        let verdict = judge(&Case {
            history: Some(&history),
            ..case(&socket)
        });
        assert_eq!(verdict.fate, Some(fate), "{held} {rqueue}");
        assert_eq!(verdict.bytes.received, received, "{held} {rqueue}");
        assert_eq!(verdict.ask, fate == Fate::Delivered);
        let evidence = match verdict.ask {
            true => Evidence::Inferred,
            false => Evidence::Observed,
        };
        assert_eq!(verdict.evidence, evidence);
        let rst = (!verdict.ask).then_some(Rst::None);
        assert_eq!(verdict.rst, rst);
    }
}

#[test]
fn where_steps_were_missed_nothing_but_time_wait_shows_that_no_rst_ended_it() {
    let (socket, history) = (closed(0), fin_wait2(true));
    let blind = |after| {
        judge(&Case {
            history: Some(&history),
            blind: true,
            after,
            ..case(&socket)
        })
    };
    let verdict = blind(After::NotAsked);
    assert_eq!(verdict.fate, Some(Fate::Delivered));
    assert_eq!((verdict.rst, verdict.bytes.received), (None, None));
    assert!(verdict.ask);
    assert_eq!(verdict.bytes.unread, None);
    let verdict = blind(After::TimeWait);
    assert_eq!(verdict.fate, Some(Fate::Confirmed));
    assert_eq!(verdict.rst, Some(Rst::None));
    assert_eq!(verdict.bytes.received, Some(29));
    assert_eq!(verdict.evidence, Evidence::Inferred);
}

#[test]
fn an_rst_in_fin_wait2_leaves_what_was_delivered_and_no_fin() {
    let socket = closed(0);
    let mut theirs = fin_wait2(true);
    theirs.got_reset = true;
    let mut ours = fin_wait2(true);
    ours.sent_reset = Some(SentReset {
        reason: Some(Reason::ABORT_ON_DATA),
        answers: true,
    });
    for (history, by) in [(theirs, "peer"), (ours, "local")] {
        let verdict = judge(&Case {
            history: Some(&history),
            ..case(&socket)
        });
        assert_eq!(verdict.fate, Some(Fate::Delivered));
        assert_eq!(verdict.rst.map(Rst::by), Some(by));
        assert_eq!(verdict.bytes.received, Some(30));
        assert_eq!(verdict.closed_first, Some(Side::Local));
        assert!(!verdict.ask);
    }
}

#[test]
fn of_a_connection_that_was_never_accepted_nothing_was_sent_or_read() {
    let living = socket((30, 0), 0);
    for (state, arrived) in [(Established, 30), (CloseWait, 29)] {
        let sample = sample(state, &living);
        let cleared_socket = cleared(&living, 0);
        let mut history = History::new(living.tuple);
        history.transition(0, SynReceived, Established, None);
        if state == CloseWait {
            history.transition(5 * MS, Established, CloseWait, None);
        }
        history.transition(10 * MS, state, Closed, PROCESS);
        history.listener_closed = true;
        history.sent_reset = Some(SentReset {
            reason: Some(Reason::STATE),
            answers: false,
        });
        let verdict = judge(&Case {
            history: Some(&history),
            sample: Some(&sample),
            ..case(&cleared_socket)
        });
        assert_eq!(verdict.fate, Some(Fate::Aborted));
        let bytes = Bytes {
            sent: Some(0),
            acked: Some(0),
            lost: Some(0),
            received: Some(arrived),
            unread: Some(arrived),
        };
        assert_eq!(verdict.bytes, bytes);
        assert_eq!(verdict.evidence, Evidence::Inferred);
        assert!(matches!(verdict.rst, Some(Rst::By { listener: true, .. })));
    }
}

#[test]
fn the_last_ack_is_missing_after_an_rst_and_of_a_cleared_socket_unless_it_was_held() {
    let last_ack = |reset: bool, held: bool| {
        let mut history = History::new(socket((0, 0), 0).tuple);
        history.transition(0, SynReceived, Established, None);
        history.transition(5 * MS, Established, CloseWait, None);
        history.transition(6 * MS, CloseWait, LastAck, PROCESS);
        history.transition(10 * MS, LastAck, Closed, None);
        history.got_reset = reset;
        history.destroyed = Some((12 * MS, held));
        history
    };
    let judged = |socket: &Socket, history: &History, errno| {
        let case = Case {
            history: Some(history),
            errno,
            ..case(socket)
        };
        judge(&case).fate
    };
    let acked = socket((1, 0), 101);
    let unacked = socket((1, 1), 100);
    let wiped = cleared(&acked, 0);
    let quiet = last_ack(false, true);
    assert_eq!(judged(&acked, &quiet, None), Some(Fate::Confirmed));
    assert_eq!(judged(&unacked, &quiet, None), Some(Fate::Failed));
    assert_eq!(
        judged(&unacked, &last_ack(true, true), None),
        Some(Fate::Reset)
    );
    // It was cleared after its end, by whoever held it: or a timer ended it.
    assert_eq!(judged(&wiped, &quiet, None), Some(Fate::Confirmed));
    assert_eq!(judged(&wiped, &last_ack(false, false), None), None);
    assert_eq!(
        judged(&wiped, &last_ack(true, true), None),
        Some(Fate::Reset)
    );
    assert_eq!(
        judged(&wiped, &quiet, Some(libc::ETIMEDOUT)),
        Some(Fate::Failed)
    );
}

#[test]
fn an_error_that_an_rst_leaves_behind_is_no_giving_up() {
    let mut history = History::new(socket((0, 0), 0).tuple);
    history.transition(0, SynReceived, Established, None);
    history.transition(10 * MS, Established, Closed, None);
    history.got_reset = true;
    let socket = socket((0, 0), 100);
    for errno in [libc::ECONNRESET, libc::EPIPE, libc::ECONNREFUSED] {
        let verdict = judge(&Case {
            history: Some(&history),
            errno: Some(errno),
            ..case(&socket)
        });
        assert_eq!((verdict.fate, verdict.error), (Some(Fate::Reset), None));
        assert_eq!(verdict.closed_first, Some(Side::Peer));
    }
    let verdict = judge(&Case {
        history: Some(&history),
        errno: Some(libc::ETIMEDOUT),
        ..case(&socket)
    });
    assert_eq!(verdict.fate, Some(Fate::Failed));
    assert_eq!(verdict.error, Some(Errno::from_raw(libc::ETIMEDOUT)));
    assert_eq!(verdict.closed_first, None);
}

#[test]
fn a_process_that_disconnects_without_an_rst_aborts_and_a_timer_fails() {
    for (process, fate) in [(PROCESS, Fate::Aborted), (None, Fate::Failed)] {
        let mut history = History::new(socket((0, 0), 0).tuple);
        history.transition(0, SynReceived, Established, None);
        history.transition(10 * MS, Established, Closed, process);
        let socket = socket((0, 0), 100);
        let verdict = judge(&Case {
            history: Some(&history),
            ..case(&socket)
        });
        assert_eq!((verdict.fate, verdict.rst), (Some(fate), Some(Rst::None)));
    }
}

#[test]
fn a_peers_rst_ended_it_though_ours_went_out_unasked() {
    let mut history = History::new(socket((0, 0), 0).tuple);
    history.transition(0, SynReceived, Established, None);
    history.transition(10 * MS, Established, Closed, None);
    history.got_reset = true;
    history.sent_reset = Some(SentReset {
        reason: None,
        answers: false,
    });
    let socket = socket((0, 0), 100);
    let verdict = judge(&Case {
        history: Some(&history),
        ..case(&socket)
    });
    assert_eq!(verdict.fate, Some(Fate::Reset));
    assert_eq!(verdict.rst.map(Rst::by), Some("peer"));
}
