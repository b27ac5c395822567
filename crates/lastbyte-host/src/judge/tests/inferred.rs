//! Endings of which the final counts and an earlier sample are all there is.

use lastbyte::{Fate, Side};

use super::*;

#[test]
fn without_segments_of_payload_what_was_received_is_the_fin() {
    for (received, unread) in [(1, Some(0)), (0, None)] {
        let mut socket = closed(received as u32);
        counts_of(&mut socket).data_segments_in = 0;
        counts_of(&mut socket).received = received;
        let verdict = judge(&Case {
            after: After::TimeWait,
            ..case(&socket)
        });
        assert_eq!(verdict.bytes.received, Some(0));
        if unread.is_some() {
            assert_eq!(verdict.bytes.unread, unread);
        }
    }
}

#[test]
fn the_final_counts_tell_who_connected_and_whether_a_fin_was_sent() {
    // (acknowledged, the port listens, all is delivered)
    for (acked, port_listens, delivered) in [
        (102, false, true),
        (102, true, true),
        (101, true, true),
        // One of SYN and FIN, nobody knows which.
        (101, false, false),
        (100, true, false),
    ] {
        let socket = socket((0, 0), acked);
        let verdict = judge(&Case {
            port_listens,
            ..case(&socket)
        });
        let fate = delivered.then_some(Fate::Delivered);
        assert_eq!(verdict.fate, fate, "{acked} {port_listens}");
        assert_eq!(verdict.ask, delivered);
        // Without a FIN of ours nothing was discarded uncounted.
        let unread = (acked == 100).then_some(0);
        assert_eq!(verdict.bytes.unread, unread, "{acked} {port_listens}");
        let acked = (delivered || acked == 100).then_some(100);
        assert_eq!(verdict.bytes.acked, acked);
        assert_eq!(verdict.rst, None);
        assert_eq!(verdict.evidence, Evidence::Inferred);
    }
}

#[test]
fn one_that_connected_and_sent_no_fin_is_not_delivered() {
    let socket = socket((5, 0), 101);
    let sample = sample(Established, &socket);
    assert_eq!(sample.role, Some(Role::Connected));
    let verdict = judge(&Case {
        sample: Some(&sample),
        ..case(&socket)
    });
    assert_eq!((verdict.fate, verdict.ask), (None, false));
    assert_eq!(verdict.bytes.acked, Some(100));
    assert_eq!(verdict.bytes.lost, Some(0));
}

#[test]
fn a_fin_may_wait_behind_what_was_never_transmitted() {
    let mut socket = socket((0, 50), 100);
    counts_of(&mut socket).unsent = 50;
    let verdict = judge(&Case {
        port_listens: true,
        ..case(&socket)
    });
    assert_eq!(verdict.bytes.lost, None);
    // Whether it does or not, it is not acknowledged.
    assert_eq!(verdict.bytes.acked, Some(100));
    // A sample knows.
    let sampled = sample(FinWait1, &socket);
    let verdict = judge(&Case {
        sample: Some(&sampled),
        port_listens: true,
        ..case(&socket)
    });
    assert_eq!(verdict.bytes.lost, Some(49));
    assert_eq!(verdict.closed_first, Some(Side::Local));
}

#[test]
fn a_sample_tells_who_closed_first() {
    for (state, first, fate) in [
        (FinWait1, Some(Side::Local), Fate::Delivered),
        (FinWait2, Some(Side::Local), Fate::Delivered),
        (CloseWait, Some(Side::Peer), Fate::Confirmed),
        (LastAck, Some(Side::Peer), Fate::Confirmed),
        (Closing, None, Fate::Delivered),
        (Established, None, Fate::Delivered),
    ] {
        let socket = closed(1);
        let sample = sample(state, &socket);
        let verdict = judge(&Case {
            sample: Some(&sample),
            ..case(&socket)
        });
        assert_eq!(verdict.closed_first, first, "{state}");
        assert_eq!(verdict.fate, Some(fate), "{state}");
        assert_eq!(verdict.ask, first != Some(Side::Peer), "{state}");
        let later = judge(&Case {
            sample: Some(&sample),
            after: After::TimeWait,
            ..case(&socket)
        });
        // FINs that crossed have no first.
        let local = (state != Closing).then_some(Side::Local);
        assert_eq!(later.closed_first, local, "{state}");
        // A peer's FIN that the sample shows is in the counts.
        let fin = matches!(state, CloseWait | LastAck | Closing);
        assert_eq!(verdict.bytes.received, fin.then_some(29), "{state}");
    }
}

#[test]
fn what_the_kernel_holds_afterwards_tells_whether_the_peer_has_closed() {
    let socket = closed(1);
    let after = |socket: &Socket, after| {
        judge(&Case {
            after,
            ..case(socket)
        })
    };
    let verdict = after(&socket, After::TimeWait);
    assert_eq!(verdict.fate, Some(Fate::Confirmed));
    assert_eq!(verdict.closed_first, Some(Side::Local));
    assert_eq!(verdict.rst, Some(Rst::None));
    assert_eq!(
        (verdict.bytes.received, verdict.bytes.unread),
        (Some(29), Some(0))
    );
    // It came before the socket was gone, or after.
    let empty = closed(0);
    assert_eq!(after(&empty, After::TimeWait).bytes.received, None);
    for held in [After::FinWait2, After::Expired] {
        let verdict = after(&empty, held);
        assert_eq!(verdict.fate, Some(Fate::Delivered));
        assert_eq!(verdict.closed_first, Some(Side::Local));
        assert_eq!((verdict.rst, verdict.ask), (None, false));
        assert_eq!(
            (verdict.bytes.received, verdict.bytes.unread),
            (Some(30), None)
        );
    }
    let verdict = after(&empty, After::Nothing);
    assert_eq!(
        (verdict.fate, verdict.closed_first),
        (Some(Fate::Delivered), None)
    );
}

#[test]
fn of_a_cleared_socket_the_last_sample_tells_what_has_not_moved() {
    // 40 of 100 bytes not acknowledged, by an end that accepted.
    let living = socket((7, 40), 60);
    for (state, received) in [(Established, None), (CloseWait, Some(29))] {
        let sample = sample(state, &living);
        let cleared_socket = cleared(&living, 0);
        let verdict = judge(&Case {
            sample: Some(&sample),
            ..case(&cleared_socket)
        });
        assert_eq!(verdict.fate, Some(Fate::Aborted));
        let known = Bytes {
            sent: Some(100),
            acked: Some(60),
            lost: Some(40),
            received,
            unread: None,
        };
        assert_eq!(verdict.bytes, known);
        // Something more was written since: how much, nobody knows.
        let grown = cleared(&living, 9);
        let verdict = judge(&Case {
            sample: Some(&sample),
            ..case(&grown)
        });
        let known = Bytes {
            sent: None,
            lost: None,
            ..known
        };
        assert_eq!(verdict.bytes, known);
    }
    // Something moved since: nothing of it is known.
    let sample = sample(Established, &living);
    let mut moved = cleared(&living, 0);
    moved.info = Some(Info {
        last_ack_recv_ms: 10,
        ..moved.info.unwrap_or_default()
    });
    let verdict = judge(&Case {
        sample: Some(&sample),
        ..case(&moved)
    });
    assert_eq!((verdict.fate, verdict.bytes), (None, Bytes::default()));
}
