//! The answers on bytes captured from Linux 6.18: what was done to each connection is
//! known from the program that did it.

extern crate std;

use std::format;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn socket(capture: &[u8]) -> Socket<'_> {
    let message = netlink::messages(capture).next().expect("one message");
    assert_eq!(message.kind, SOCK_DIAG_BY_FAMILY);
    Socket::parse(message.payload).expect("a socket")
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("short test value");
    let mut attribute = length.to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// A message in which every byte of the head has its own value.
fn message(family: u8, attributes: &[u8]) -> Vec<u8> {
    let mut message: Vec<u8> = (0..72).collect();
    message[0] = family;
    message.extend(attributes);
    message
}

#[test]
fn a_clean_end_of_a_connecting_client() {
    // It connected, sent 100 bytes, closed first; the FIN it got was never read.
    let socket = socket(include_bytes!("../../fixtures/destroy_clean_client.bin"));
    assert_eq!(
        (socket.family(), socket.state()),
        (IPV4, Some(State::Closed))
    );
    assert_eq!((socket.rqueue(), socket.wqueue()), (1, 0));
    assert_eq!(socket.local().ip(), IpAddr::from([127, 0, 0, 1]));
    assert_ne!(socket.remote().port(), 0);
    assert!(socket.is_tcp() && !socket.is_mptcp_subflow());
    let info = socket.info().expect("a notice has counters");
    // The SYN and the FIN are acknowledged as well.
    assert_eq!((info.acked(), info.received()), (Some(102), Some(1)));
    let counts = info.send_counts(0).expect("a new kernel");
    assert_eq!(counts.written(true), Some(100));
    assert_eq!(counts.fin_of_closed(), Some(true));
    assert_eq!(info.fin_acked(), Some(true));
}

#[test]
fn an_orphan_that_its_peer_reset() {
    // 2 807 568 bytes were sent, 2 803 472 unacknowledged at close(); the FIN waits behind.
    let socket = socket(include_bytes!("../../fixtures/destroy_orphan_reset.bin"));
    assert_eq!((socket.wqueue(), socket.inode()), (2_803_473, 0));
    let counters = socket.info().and_then(|info| info.counters());
    let counts = counters.expect("a new kernel").send_counts(2_803_473);
    assert_eq!(counts.written(true), Some(2_807_568));
    assert_eq!(counts.fin_of_closed(), None);
}

#[test]
fn a_disconnected_socket_has_no_peer_and_was_established_once() {
    let socket = socket(include_bytes!("../../fixtures/destroy_on0_wiped.bin"));
    assert_eq!(socket.remote().port(), 0);
    let info = socket.info().expect("a notice has counters");
    assert_eq!(info.is_cleared(), Some(true));
    assert!(!info.was_connected());
    assert!(info.counters().expect("a new kernel").was_established());
}

#[test]
fn a_listener_was_never_established() {
    let socket = socket(include_bytes!("../../fixtures/destroy_listener.bin"));
    assert_ne!(socket.local().port(), 0);
    let counters = socket.info().and_then(|info| info.counters());
    assert!(!counters.expect("a new kernel").was_established());
}

#[test]
fn ipv6_ends_are_read() {
    let socket = socket(include_bytes!("../../fixtures/destroy_ipv6.bin"));
    assert_eq!(socket.family(), IPV6);
    assert_eq!(socket.local().ip(), IpAddr::from(Ipv6Addr::LOCALHOST));
    assert_eq!(socket.remote().ip(), IpAddr::from(Ipv6Addr::LOCALHOST));
}

#[test]
fn a_dump_has_listeners_and_time_wait() {
    let dump = include_bytes!("../../fixtures/dump_ipv4.bin");
    let states: Vec<_> = netlink::messages(dump)
        .filter_map(|message| Socket::parse(message.payload)?.state())
        .collect();
    assert!(states.contains(&State::Listen), "{states:?}");
    assert!(states.contains(&State::TimeWait), "{states:?}");
}

#[test]
fn fields_sit_where_the_header_says() {
    let bytes = message(IPV4, &[]);
    let socket = Socket::parse(&bytes).expect("whole");
    let word = |at: u8| u32::from_ne_bytes([at, at + 1, at + 2, at + 3]);
    assert_eq!(socket.state(), Some(State::Established));
    assert_eq!(socket.local(), SocketAddr::from(([8, 9, 10, 11], 0x0405)));
    assert_eq!(
        socket.remote(),
        SocketAddr::from(([24, 25, 26, 27], 0x0607))
    );
    assert_eq!(socket.interface(), word(40));
    assert_eq!(
        socket.cookie(),
        u64::from(word(44)) | u64::from(word(48)) << 32
    );
    assert_eq!(socket.expires_ms(), word(52));
    assert_eq!((socket.rqueue(), socket.wqueue()), (word(56), word(60)));
    assert_eq!((socket.uid(), socket.inode()), (word(64), word(68)));
    assert_eq!((socket.info(), socket.send_buffer_full()), (None, None));
    let text = format!("{socket:?}");
    assert!(
        text.starts_with("Socket { local: 8.9.10.11:1029, remote: 24.25.26.27:1543,"),
        "{text}"
    );

    let bytes = message(IPV6, &[]);
    let socket = Socket::parse(&bytes).expect("whole");
    let octets = |first: u8| core::array::from_fn::<u8, 16, _>(|i| first + i as u8);
    assert_eq!(socket.local().ip(), IpAddr::from(octets(8)));
    assert_eq!(socket.remote().ip(), IpAddr::from(octets(24)));
}

#[test]
fn what_is_cut_off_or_of_another_family_is_no_socket() {
    assert!(Socket::parse(&message(IPV4, &[])[..71]).is_none());
    // AF_UNIX is a message of another structure.
    assert!(Socket::parse(&message(1, &[])).is_none());
}

#[test]
fn attributes_tell_the_protocol_the_upper_layer_and_the_room() {
    let told = |attributes: &[u8]| {
        let bytes = message(IPV4, attributes);
        let socket = Socket::parse(&bytes).expect("whole");
        (
            socket.is_tcp(),
            socket.is_mptcp_subflow(),
            socket.send_buffer_full(),
        )
    };
    assert_eq!(told(&[]), (true, false, None));
    assert_eq!(
        told(&attribute(INET_DIAG_PROTOCOL, &[6])),
        (true, false, None)
    );
    // UDP, and a value that is missing.
    assert_eq!(
        told(&attribute(INET_DIAG_PROTOCOL, &[17])),
        (false, false, None)
    );
    assert_eq!(
        told(&attribute(INET_DIAG_PROTOCOL, &[])),
        (false, false, None)
    );
    let name = |kind, name: &[u8]| attribute(INET_DIAG_ULP_INFO, &attribute(kind, name));
    assert_eq!(told(&name(1, b"mptcp\0")), (true, true, None));
    assert_eq!(told(&name(1, b"tls\0")), (true, false, None));
    assert_eq!(told(&name(2, b"mptcp\0")), (true, false, None));
    // rmem_alloc, rcvbuf, wmem_alloc, sndbuf, fwd_alloc, wmem_queued.
    let room = |sndbuf: u32, queued: u32| {
        let sizes = [0, 0, 0, sndbuf, 0, queued].map(u32::to_ne_bytes);
        attribute(INET_DIAG_SKMEMINFO, sizes.as_flattened())
    };
    assert_eq!(told(&room(100, 99)), (true, false, Some(false)));
    assert_eq!(told(&room(100, 100)), (true, false, Some(true)));
    assert_eq!(told(&room(100, 99)[..20]), (true, false, None));
}

#[test]
fn a_dump_is_asked_for_as_the_header_says() {
    let request = Request::Dump {
        family: IPV6,
        states: 0x0a0b_0c0d,
        info: true,
    };
    let mut expected = Vec::new();
    // nlmsghdr: length, type, NLM_F_REQUEST | NLM_F_DUMP, sequence, port.
    expected.extend(72u32.to_ne_bytes());
    expected.extend(20u16.to_ne_bytes());
    expected.extend(0x301u16.to_ne_bytes());
    expected.extend(7u32.to_ne_bytes());
    expected.extend(0u32.to_ne_bytes());
    // Family, protocol, INET_DIAG_INFO and INET_DIAG_SKMEMINFO, states, no socket.
    expected.extend([10, 6, 0b0100_0010, 0]);
    expected.extend(0x0a0b_0c0d_u32.to_ne_bytes());
    expected.extend([0; 48]);
    assert_eq!(request.encode(7).as_slice(), expected);
}

#[test]
fn one_socket_is_asked_for_as_the_header_says() {
    let address = |ip: IpAddr, port| SocketAddr::new(ip, port);
    let v4 = Request::Find {
        local: address([1, 2, 3, 4].into(), 0x5061),
        remote: address([5, 6, 7, 8].into(), 0x7081),
    };
    let mut expected = Vec::new();
    expected.extend(72u32.to_ne_bytes());
    expected.extend(20u16.to_ne_bytes());
    expected.extend(1u16.to_ne_bytes());
    expected.extend(9u32.to_ne_bytes());
    expected.extend(0u32.to_ne_bytes());
    expected.extend([2, 6, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    expected.extend([0x50, 0x61, 0x70, 0x81]);
    expected.extend([1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // No interface, INET_DIAG_NOCOOKIE.
    expected.extend([0; 4]);
    expected.extend([0xff; 8]);
    assert_eq!(v4.encode(9).as_slice(), expected);

    let (a, b): ([u8; 16], [u8; 16]) = ([0xa; 16], [0xb; 16]);
    let v6 = Request::Find {
        local: address(a.into(), 1),
        remote: address(b.into(), 2),
    };
    let bytes = v6.encode(9);
    assert_eq!(bytes[16], IPV6);
    assert_eq!((&bytes[28..44], &bytes[44..60]), (&a[..], &b[..]));
}

proptest! {
    #![proptest_config(crate::few_under_miri())]

    /// No bytes make it panic or go on for ever.
    #[test]
    fn any_bytes(payload in prop::collection::vec(any::<u8>(), 0..400), family in 0u8..12) {
        let mut payload = payload;
        if let Some(first) = payload.first_mut() {
            *first = family;
        }
        if let Some(socket) = Socket::parse(&payload) {
            let _ = (socket.local(), socket.remote(), socket.state(), socket.is_tcp());
            let _ = (socket.is_mptcp_subflow(), socket.send_buffer_full());
            let _ = socket.info().map(|info| format!("{info:?} {:?}", info.counters()));
        }
    }
}
