//! The parsers and the tracker on bytes captured from Linux 6.18: what was done to
//! each connection is known from the program that did it.

use crate::ending::Evidence;
use crate::parse::inet_diag::Socket;
use crate::parse::ring_page::Page;
use crate::parse::trace::{Event, Layouts, Trace};
use crate::parse::tracefs::Format;
use crate::tracker::{Finished, Tracker};
use crate::tuple::State;
use lastbyte::{Fate, Side};
use lastbyte_tcp::netlink;

fn socket(capture: &[u8]) -> Socket {
    let message = netlink::messages(capture).next().expect("one message");
    Socket::parse(message.payload).expect("a destroy notice")
}

/// What an ordinary user learns from a destroy notice alone, the table empty.
fn ending(capture: &[u8]) -> Option<Finished> {
    let mut tracker = Tracker::new(false);
    tracker.destroy_notice(1_000_000_000, &socket(capture));
    let queries = tracker.queries(1_000_000_000, 10);
    for tuple in queries {
        tracker.answer(1_000_000_000, tuple, None);
    }
    tracker.take().pop()
}

fn in_state(state: State) -> Socket {
    Socket {
        state,
        expires_ms: 60_000,
        ..socket(include_bytes!(
            "../../../../lastbyte-tcp/fixtures/destroy_clean_client.bin"
        ))
    }
}

#[test]
fn a_clean_end_counts_payload_and_nothing_else() {
    // It connected, sent 100 bytes, closed first; the FIN it got was never read.
    let bytes = include_bytes!("../../../../lastbyte-tcp/fixtures/destroy_clean_client.bin");
    let socket = socket(bytes);
    let counts = socket
        .info
        .and_then(|info| info.counts)
        .expect("a new kernel");
    assert_eq!((counts.acked, counts.received, socket.rqueue), (102, 1, 1));
    let ending = ending(bytes).expect("a connection").ending;
    assert_eq!(ending.fate, Some(Fate::Delivered));
    assert_eq!(ending.bytes.sent, Some(100));
    assert_eq!(ending.bytes.acked, Some(100));
    assert_eq!(ending.bytes.lost, Some(0));
    assert_eq!(ending.bytes.received, Some(0));
    assert_eq!(ending.evidence, Evidence::Inferred);
    assert_eq!(ending.rst, None);
}

#[test]
fn the_table_tells_who_closed_first() {
    let socket = socket(include_bytes!(
        "../../../../lastbyte-tcp/fixtures/destroy_clean_client.bin"
    ));
    let mut tracker = Tracker::new(false);
    tracker.destroy_notice(0, &socket);
    for tuple in tracker.queries(0, 10) {
        tracker.answer(0, tuple, Some(&in_state(State::TimeWait)));
    }
    let ending = tracker.take().pop().expect("a connection").ending;
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.closed_first, Some(Side::Local));
}

#[test]
fn fin_wait2_is_waited_for_and_told_once() {
    let socket = socket(include_bytes!(
        "../../../../lastbyte-tcp/fixtures/destroy_clean_client.bin"
    ));
    let mut tracker = Tracker::new(false);
    tracker.destroy_notice(0, &socket);
    for tuple in tracker.queries(0, 10) {
        tracker.answer(0, tuple, Some(&in_state(State::FinWait2)));
    }
    assert_eq!(tracker.take(), []);
    assert_eq!(tracker.waiting(), 1);
    let due = tracker.next_query().expect("it will be asked again");
    for tuple in tracker.queries(due, 10) {
        tracker.answer(due, tuple, Some(&in_state(State::TimeWait)));
    }
    assert_eq!(tracker.take().len(), 1);
    tracker.flush();
    assert_eq!(tracker.take(), []);
}

#[test]
fn an_orphan_reset_by_its_peer_shows_what_was_lost_when_the_fin_is_known() {
    // 2 807 568 bytes were sent, 2 803 472 unacknowledged at close(); the FIN waits behind.
    let bytes = include_bytes!("../../../../lastbyte-tcp/fixtures/destroy_orphan_reset.bin");
    assert_eq!(socket(bytes).wqueue, 2_803_473);
    let alone = ending(bytes).expect("a connection").ending;
    // Whether a FIN is behind the unsent cannot be known from the destroy notice alone.
    assert_eq!((alone.fate, alone.bytes.lost), (None, None));

    // One look at it while it lived, and it can.
    let mut tracker = Tracker::new(false);
    tracker.begin_round(0);
    let living = Socket {
        state: State::FinWait1,
        ..socket(bytes)
    };
    tracker.row(0, &living);
    tracker.end_round(|_| None);
    tracker.destroy_notice(1, &socket(bytes));
    let ending = tracker.take().pop().expect("a connection").ending;
    assert_eq!(ending.bytes.lost, Some(2_803_472));
    assert_eq!(ending.closed_first, Some(Side::Local));
}

#[test]
fn a_wiped_socket_is_recognised_and_nothing_made_up() {
    let bytes = include_bytes!("../../../../lastbyte-tcp/fixtures/destroy_on0_wiped.bin");
    assert_eq!(socket(bytes).tuple.remote.port, 0);
    let ending = ending(bytes).expect("it was a connection once").ending;
    assert_eq!(ending.fate, None);
    assert_eq!(ending.bytes, crate::ending::Bytes::default());
}

#[test]
fn a_listener_is_no_connection_but_its_port_is_known_from_then_on() {
    let socket = socket(include_bytes!(
        "../../../../lastbyte-tcp/fixtures/destroy_listener.bin"
    ));
    let mut tracker = Tracker::new(false);
    tracker.destroy_notice(0, &socket);
    assert_eq!(tracker.take(), []);
    assert_eq!(tracker.counts().not_connections, 1);
    assert!(tracker.listens(socket.tuple.local.port));
}

#[test]
fn ipv6_ends_are_read() {
    let socket = socket(include_bytes!(
        "../../../../lastbyte-tcp/fixtures/destroy_ipv6.bin"
    ));
    assert!(socket.tuple.is_whole());
    assert!(socket.tuple.local.to_string().starts_with("[::1]:"));
}

#[test]
fn a_dump_has_listeners_and_time_wait() {
    let dump = include_bytes!("../../../../lastbyte-tcp/fixtures/dump_ipv4.bin");
    let states: Vec<_> = netlink::messages(dump)
        .filter_map(|message| Socket::parse(message.payload))
        .map(|socket| socket.state)
        .collect();
    assert!(states.contains(&State::Listen), "{states:?}");
    assert!(states.contains(&State::TimeWait), "{states:?}");
}

fn layouts() -> Layouts {
    let format = |text| Format::parse(text).expect("a whole file");
    Layouts::new(&[
        format(include_str!("../../../fixtures/inet_sock_set_state.format")),
        format(include_str!("../../../fixtures/tcp_send_reset.format")),
        format(include_str!("../../../fixtures/tcp_receive_reset.format")),
        format(include_str!("../../../fixtures/tcp_destroy_sock.format")),
        format(include_str!(
            "../../../fixtures/inet_sk_error_report.format"
        )),
    ])
    .expect("every field is there")
}

#[test]
fn a_page_of_a_trace_instance_tells_a_whole_life() {
    let page =
        Page::parse(include_bytes!("../../../fixtures/trace_page.bin")).expect("a whole page");
    let layouts = layouts();
    let traces: Vec<(u64, Trace)> = page
        .records()
        .filter_map(|(time, record)| Some((time, layouts.decode(record)?)))
        .collect();
    assert!(traces.is_sorted_by_key(|(time, _)| *time));
    let changes: Vec<_> = traces
        .iter()
        .filter_map(|(_, trace)| match trace.event {
            Event::SetState {
                old, new, tuple, ..
            } if tuple.remote.port != 0 => Some((old, new)),
            _ => None,
        })
        .collect();
    use State::*;
    for step in [
        (SynSent, Established),
        (SynReceived, Established),
        (Established, FinWait1),
        (Established, CloseWait),
        (CloseWait, LastAck),
        (FinWait1, FinWait2),
        (FinWait2, Closed),
        (LastAck, Closed),
    ] {
        assert!(changes.contains(&step), "{step:?} is not in {changes:?}");
    }
    let destroyed = traces
        .iter()
        .filter(|(_, t)| matches!(t.event, Event::Destroy { .. }));
    assert!(destroyed.count() >= 2);
}
