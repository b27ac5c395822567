extern crate std;

use std::format;

use super::*;

/// Puts numbers at offsets of include/uapi/linux/tcp.h.
fn info(fields: &[(usize, &[u8])]) -> TcpInfo {
    let mut bytes = [0; LENGTH];
    for (at, value) in fields {
        bytes[*at..*at + value.len()].copy_from_slice(value);
    }
    TcpInfo::from_bytes(&bytes).expect("a whole structure")
}

fn sent(state: u8, acked: u64, transmitted: u64, unsent: u32) -> TcpInfo {
    info(&[
        (0, &[state]),
        (120, &acked.to_ne_bytes()),
        (144, &unsent.to_ne_bytes()),
        (200, &(transmitted + 50).to_ne_bytes()),
        (208, &50u64.to_ne_bytes()),
    ])
}

fn segments(out: u32, again: u32, delivered: u32) -> TcpInfo {
    info(&[
        (100, &again.to_ne_bytes()),
        (156, &out.to_ne_bytes()),
        (192, &delivered.to_ne_bytes()),
    ])
}

/// Every byte has its own value, so that no offset and no width can be mistaken.
#[test]
fn fields_sit_where_the_header_says() {
    let mut bytes = [0; LENGTH];
    for (value, byte) in (0..).zip(&mut bytes) {
        *byte = value;
    }
    let info = TcpInfo::from_bytes(&bytes).expect("a whole structure");
    let word = |at: u8| u32::from_ne_bytes([at, at + 1, at + 2, at + 3]);
    let at4 = |at| Some(word(at));
    let at8 = |at: usize| bytes::u64(&bytes, at);
    assert_eq!(info.state(), None);
    assert_eq!(info.unanswered_retransmits(), 2);
    assert_eq!(info.unanswered_probes(), 3);
    assert_eq!(info.send_mss(), word(16));
    assert_eq!(info.unacked(), word(24));
    assert_eq!(info.last_data_sent_ms(), word(44));
    assert_eq!(info.last_ack_received_ms(), word(56));
    assert_eq!(info.rtt_us(), word(68));
    assert_eq!(info.retransmitted_segments(), word(100));
    assert_eq!(info.acked(), at8(120));
    assert_eq!(info.received(), at8(128));
    assert_eq!(info.unsent(), at4(144));
    assert_eq!(info.min_rtt_us(), at4(148));
    assert_eq!(info.data_segments_in(), at4(152));
    assert_eq!(info.data_segments_out(), at4(156));
    assert_eq!(info.delivered(), at4(192));
    assert_eq!(info.bytes_sent(), at8(200));
    assert_eq!(info.bytes_retransmitted(), at8(208));
    assert_eq!(info.send_window(), at4(228));
}

/// What `pahole`, and the releases' headers, give as the structure's length.
#[test]
fn a_field_is_none_in_every_kernel_that_lacks_it() {
    let lengths = [104, 136, 160, 200, 216, 232, 280];
    let of = |len| TcpInfo::from_bytes(&[1; 280][..len]);
    let known =
        |field: fn(&TcpInfo) -> bool| lengths.map(|len| of(len).as_ref().is_some_and(field));
    let since = |first: usize| lengths.map(|len| len >= first);
    assert_eq!([0, 1, 103].map(of), [None; 3]);
    assert_eq!(known(|i| i.state() == Some(State::Established)), since(104));
    assert_eq!(known(|i| i.acked().is_some()), since(136));
    assert_eq!(known(|i| i.received().is_some()), since(136));
    assert_eq!(known(|i| i.unsent().is_some()), since(160));
    assert_eq!(known(|i| i.data_segments_in().is_some()), since(160));
    assert_eq!(known(|i| i.handshake_over().is_some()), since(200));
    assert_eq!(known(|i| i.is_cleared().is_some()), since(216));
    assert_eq!(known(|i| i.accepted().is_some()), since(216));
    assert_eq!(known(|i| i.counters().is_some()), since(216));
    assert_eq!(known(|i| i.send_counts(0).is_some()), since(216));
    assert_eq!(known(|i| i.queued_before_fin().is_some()), since(216));
    assert_eq!(known(|i| i.send_window().is_some()), since(232));
    // Without counters nothing can disagree.
    assert!(of(104).is_some_and(|info| info.agrees_with(7)));
    assert_eq!(of(104).map(|info| info.burst()), Some(2 * 0x0101_0101));
}

#[test]
fn more_sent_again_than_sent_is_no_count() {
    let wrong = info(&[(200, &1u64.to_ne_bytes()), (208, &2u64.to_ne_bytes())]);
    assert_eq!((wrong.transmitted(), wrong.counters()), (None, None));
    assert_eq!((wrong.accepted(), wrong.is_cleared()), (None, None));
}

#[test]
fn what_send_accepted_is_transmitted_or_waits() {
    let info = sent(1, 90, 100, 7);
    assert_eq!(
        (info.transmitted(), info.accepted()),
        (Some(100), Some(107))
    );
    assert_eq!(info.queued_before_fin(), Some(17));
    assert_eq!(info.is_cleared(), Some(false));
    assert_eq!(sent(1, 0, 0, 9).is_cleared(), Some(true));
    // A SYN of ours is among the acknowledged.
    assert_eq!(sent(1, 101, 100, 7).queued_before_fin(), Some(7));
}

#[test]
fn a_connection_leaves_a_round_trip_time_or_bytes() {
    assert!(!info(&[]).was_connected());
    assert!(info(&[(68, &[1])]).was_connected());
    assert!(info(&[(120, &[1])]).was_connected());
    assert!(info(&[(128, &[1])]).was_connected());
}

#[test]
fn not_even_a_disconnect_clears_the_smallest_round_trip() {
    let never = Counters {
        min_rtt_us: u32::MAX,
        ..Counters::default()
    };
    assert!(!never.was_established());
    assert!(
        Counters {
            min_rtt_us: 9,
            ..never
        }
        .was_established()
    );
    assert!(Counters { acked: 1, ..never }.was_established());
    assert!(
        Counters {
            received: 1,
            ..never
        }
        .was_established()
    );
    assert!(
        Counters {
            transmitted: 1,
            ..never
        }
        .was_established()
    );
    assert!(!Counters { unsent: 1, ..never }.was_established());
}

#[test]
fn counters_are_those_of_the_fields() {
    let info = info(&[
        (120, &102u64.to_ne_bytes()),
        (128, &31u64.to_ne_bytes()),
        (144, &5u32.to_ne_bytes()),
        (148, &77u32.to_ne_bytes()),
        (152, &3u32.to_ne_bytes()),
        (200, &150u64.to_ne_bytes()),
        (208, &50u64.to_ne_bytes()),
    ]);
    let counters = Counters {
        acked: 102,
        received: 31,
        unsent: 5,
        min_rtt_us: 77,
        data_segments_in: 3,
        transmitted: 100,
    };
    assert_eq!(info.counters(), Some(counters));
    let counts = SendCounts {
        acked: 102,
        queued: 9,
        transmitted: 100,
        unsent: 5,
    };
    assert_eq!(info.send_counts(9), Some(counts));
    assert_eq!(counters.send_counts(9), counts);
}

#[test]
fn a_fin_of_its_own_is_one_segment_more() {
    // Three segments of data, one of them sent again; the handshake's is delivered.
    assert_eq!(segments(4, 1, 4).fin_acked(), Some(false));
    assert_eq!(segments(4, 1, 5).fin_acked(), Some(true));
    assert_eq!(segments(4, 1, 6).fin_acked(), None);
    // In flight still.
    assert_eq!(segments(4, 1, 3).fin_acked(), None);
    // A FIN was sent again, or a part of a segment.
    assert_eq!(segments(0, 1, 2).fin_acked(), None);
    assert_eq!(segments(0, 0, 0).fin_acked(), None);
    assert_eq!(segments(0, 0, 0).handshake_over(), Some(false));
    assert_eq!(segments(0, 0, 1).handshake_over(), Some(true));
}

#[test]
fn retransmissions_and_probes_are_unanswered() {
    assert!(!info(&[]).unanswered());
    assert!(info(&[(2, &[1])]).unanswered());
    assert!(info(&[(3, &[1])]).unanswered());
    let ack = info(&[(56, &1500u32.to_ne_bytes())]);
    assert_eq!(ack.since_ack(), Duration::from_millis(1500));
}

#[test]
fn only_a_listener_has_a_backlog() {
    assert_eq!(info(&[(0, &[10]), (24, &[3])]).backlog(), Some(3));
    assert_eq!(info(&[(0, &[1]), (24, &[3])]).backlog(), None);
}

/// `tcp_tso_autosize`: 64 KiB halve with each 512 µs; at least two segments.
#[test]
fn a_burst_is_two_segments_or_more_on_a_short_path() {
    let burst =
        |mss: u32, rtt: u32| info(&[(16, &mss.to_ne_bytes()), (148, &rtt.to_ne_bytes())]).burst();
    assert_eq!(burst(1448, 0), 65536);
    assert_eq!(burst(1448, 512), 32768);
    assert_eq!(burst(1448, u32::MAX), 2896);
    assert_eq!(burst(0, u32::MAX), 1072);
}

#[test]
fn a_queue_agrees_if_syn_and_fin_account_for_the_rest() {
    let agreed = |state: State, unsent: u32| {
        // 100 bytes transmitted, 60 acknowledged; beside them 0 to 4.
        let info = sent(state as u8, 60, 100, unsent);
        [39, 40, 41, 42, 43].map(|queued| info.agrees_with(queued + u64::from(unsent)))
    };
    let one = [false, true, true, false, false];
    assert_eq!(agreed(State::Established, 0), one);
    assert_eq!(agreed(State::CloseWait, 0), one);
    // A FIN was sent.
    let two = [false, false, true, true, false];
    for state in [
        State::FinWait1,
        State::FinWait2,
        State::Closing,
        State::LastAck,
    ] {
        assert_eq!(agreed(state, 0), two, "{state}");
        // It waits among the unsent.
        assert_eq!(agreed(state, 10), one, "{state}");
    }
    assert_eq!(agreed(State::Closed, 0), [false, true, true, true, false]);
    assert_eq!(agreed(State::SynReceived, 0), [true; 5]);
    assert!(!sent(1, u64::MAX, 100, 0).agrees_with(1));
    // A number that is no state reads as none: the connection is over.
    let unknown = sent(99, 60, 100, 0);
    assert!(unknown.agrees_with(42) && !unknown.agrees_with(43));
}

#[test]
fn debug_shows_values_and_not_bytes() {
    let text = format!("{:?}", sent(4, 60, 100, 7));
    assert_eq!(
        text,
        "TcpInfo { len: 232, state: Some(FinWait1), acked: Some(60), transmitted: Some(100), \
         unsent: Some(7), received: Some(0), .. }"
    );
}

#[cfg(all(feature = "std", target_os = "linux", not(miri)))]
#[test]
fn the_kernel_answers_for_tcp_alone() {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;

    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let mut ours = TcpStream::connect(address).expect("it listens");
    let backlog = TcpInfo::of(listener.as_fd())
        .expect("a TCP socket")
        .backlog();
    assert_eq!(backlog, Some(1));
    let (theirs, _) = listener.accept().expect("it connected");
    ours.write_all(&[0; 100]).expect("an open connection");
    theirs.peek(&mut [0]).expect("it arrives");
    let info = TcpInfo::of(ours.as_fd()).expect("a TCP socket");
    assert_eq!(info.state(), Some(State::Established));
    assert!(info.was_connected());
    assert_eq!(info.accepted(), Some(100));
    let info = TcpInfo::of(theirs.as_fd()).expect("a TCP socket");
    assert_eq!(info.received(), Some(100));
    let udp = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    assert!(TcpInfo::of(udp.as_fd()).is_err());
}
