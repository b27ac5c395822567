//! Each piece of evidence, and what follows from it.

use std::net::Ipv4Addr;

use lastbyte::{Fate, Side};

use super::*;
use crate::evidence::history::{Actor, SentReset};
use crate::parse::tcp_info::TcpInfo;
use crate::tuple::State::{self, *};
use crate::tuple::{Endpoint, Role, Tuple};

const MS: u64 = 1_000_000;
const WINDOW: u32 = 65_536;

/// A destroyed socket: it had sent 100 bytes and received 30 in some segments.
fn socket((rqueue, wqueue): (u32, u32), acked: u64) -> Socket {
    let end = |port| Endpoint::new(Ipv4Addr::LOCALHOST.into(), port);
    Socket {
        space: 0,
        tuple: Tuple {
            local: end(80),
            remote: end(40_000),
        },
        state: Close,
        cookie: 1,
        rqueue,
        wqueue,
        expires_ms: 0,
        uid: 0,
        inode: 0,
        full: None,
        mptcp: false,
        info: Some(TcpInfo {
            counts: Some(Counts {
                acked,
                received: 30,
                unsent: 0,
                min_rtt_us: 9,
                data_segments_in: 5,
                sent: 100,
            }),
            ..TcpInfo::default()
        }),
    }
}

fn counts_of(socket: &mut Socket) -> &mut Counts {
    let info = socket.info.as_mut().expect("it has been set");
    info.counts.as_mut().expect("they have been set")
}

/// All acknowledged, the FIN included, by an end that connected.
fn closed(rqueue: u32) -> Socket {
    socket((rqueue, 0), 102)
}

fn case(socket: &Socket) -> Case<'_> {
    Case {
        socket,
        history: None,
        blind: false,
        sample: None,
        mptcp: false,
        at: 1400 * MS,
        told: 1400 * MS,
        port_listens: false,
        errno: None,
        peer_reason: None,
        peer_reset_later: false,
        after: After::NotAsked,
    }
}

/// A dump that showed the socket in this state.
fn sample(state: State, socket: &Socket) -> LastSample {
    let info = TcpInfo {
        last_ack_recv_ms: 500,
        last_data_sent_ms: 400,
        snd_wnd: Some(WINDOW),
        ..socket.info.unwrap_or_default()
    };
    let living = Socket {
        state,
        inode: 1,
        info: Some(info),
        ..*socket
    };
    LastSample::new(1000 * MS, (1, 990 * MS), &living, None)
}

/// The same socket after a disconnect, with so many bytes more in its queue than that adds.
fn cleared(socket: &Socket, more: u32) -> Socket {
    let mut cleared = Socket {
        wqueue: socket.wqueue + WINDOW + 2 + more,
        info: Some(TcpInfo {
            last_ack_recv_ms: 900,
            last_data_sent_ms: 800,
            ..TcpInfo::default()
        }),
        ..*socket
    };
    cleared.tuple.remote = Endpoint::UNKNOWN;
    cleared
}

const PROCESS: Option<Actor> = Some(Actor {
    thread: 7,
    process: None,
});

/// It shut down its sending side, and left FIN_WAIT2 outside of a call; a process or
/// nobody held the descriptor then.
fn fin_wait2(held: bool) -> History {
    let mut history = History::new(socket((0, 0), 0).tuple);
    history.transition(0, Close, SynSent, PROCESS);
    history.transition(0, SynSent, Established, None);
    history.transition(10 * MS, Established, FinWait1, PROCESS);
    history.transition(20 * MS, FinWait1, FinWait2, None);
    history.transition(30 * MS, FinWait2, Close, None);
    history.destroyed = Some((31 * MS, held));
    history
}

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
    moved.info = Some(TcpInfo {
        last_ack_recv_ms: 10,
        ..moved.info.unwrap_or_default()
    });
    let verdict = judge(&Case {
        sample: Some(&sample),
        ..case(&moved)
    });
    assert_eq!((verdict.fate, verdict.bytes), (None, Bytes::default()));
}

#[test]
fn of_a_connection_that_was_never_accepted_nothing_was_sent_or_read() {
    let living = socket((30, 0), 0);
    for (state, arrived) in [(Established, 30), (CloseWait, 29)] {
        let sample = sample(state, &living);
        let cleared_socket = cleared(&living, 0);
        let mut history = History::new(living.tuple);
        history.transition(0, SynRecv, Established, None);
        if state == CloseWait {
            history.transition(5 * MS, Established, CloseWait, None);
        }
        history.transition(10 * MS, state, Close, PROCESS);
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
        history.transition(0, SynRecv, Established, None);
        history.transition(5 * MS, Established, CloseWait, None);
        history.transition(6 * MS, CloseWait, LastAck, PROCESS);
        history.transition(10 * MS, LastAck, Close, None);
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
    history.transition(0, SynRecv, Established, None);
    history.transition(10 * MS, Established, Close, None);
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
        history.transition(0, SynRecv, Established, None);
        history.transition(10 * MS, Established, Close, process);
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
    history.transition(0, SynRecv, Established, None);
    history.transition(10 * MS, Established, Close, None);
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
