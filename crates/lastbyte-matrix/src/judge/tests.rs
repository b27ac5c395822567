//! Whoever lies is found out.

use std::net::SocketAddr;
use std::time::Duration;

use lastbyte_lab::harness::{Conn, End, Flags, Got, Packet, Stamp};
use serde_json::{Value, json};

use super::{Shape, Verdict, judge};
use crate::axes::Cell;
use crate::scene::{Closed, Seen};
use crate::wire::Wire;

const ACK: Flags = Flags {
    syn: false,
    ack: true,
    fin: false,
    rst: false,
    psh: false,
};
const SYN: Flags = Flags {
    syn: true,
    ack: false,
    ..ACK
};
const SYN_ACK: Flags = Flags { syn: true, ..ACK };
const FIN: Flags = Flags { fin: true, ..ACK };
const RST: Flags = Flags { rst: true, ..ACK };

fn at(ms: u32) -> Stamp {
    Stamp::from_parts(100 + ms / 1000, ms % 1000 * 1_000_000)
}

fn conn() -> Conn {
    Conn {
        ours: SocketAddr::from(([127, 0, 0, 1], 1000)),
        peer: SocketAddr::from(([127, 0, 0, 1], 2000)),
    }
}

/// Milliseconds, whether it is ours, flags, seq, ack, length; numbers from the SYN on.
type P = (u32, bool, Flags, u32, u32, u32);

fn wire(packets: &[P]) -> Wire {
    let packet = |&(ms, ours, flags, seq, ack, len): &P| Packet {
        at: at(ms),
        source: if ours { conn().ours } else { conn().peer },
        target: if ours { conn().peer } else { conn().ours },
        // Near the wrap, so that reading has to mind it.
        seq: (u32::MAX - 50).wrapping_add(seq),
        ack: (u32::MAX - 50).wrapping_add(ack),
        flags,
        window: 100,
        len,
    };
    Wire::new(conn(), packets.iter().map(packet).collect())
}

/// 100 bytes, closed at 10 ms, read and acknowledged.
const DELIVERED: &[P] = &[
    (0, true, SYN, 0, 0, 0),
    (0, false, SYN_ACK, 0, 1, 0),
    (1, true, ACK, 1, 1, 100),
    (2, false, ACK, 1, 101, 0),
    (10, true, FIN, 101, 1, 0),
    (11, false, ACK, 1, 102, 0),
    (12, false, FIN, 1, 102, 0),
];

/// 100 bytes, of which the peer took 60; given up after two seconds.
const TIMED_OUT: &[P] = &[
    (0, true, SYN, 0, 0, 0),
    (0, false, SYN_ACK, 0, 1, 0),
    (1, true, ACK, 1, 1, 80),
    (2, false, ACK, 1, 61, 0),
    (2012, true, RST, 81, 1, 0),
];

/// 100 bytes, of which the peer took 60; input came, and the kernel reset.
const LOST: &[P] = &[
    (0, true, SYN, 0, 0, 0),
    (0, false, SYN_ACK, 0, 1, 0),
    (1, true, ACK, 1, 1, 80),
    (2, false, ACK, 1, 61, 0),
    (20, false, ACK, 1, 61, 10),
    (20, true, RST, 81, 11, 0),
];

fn seen(cell: &str, packets: &[P], got: Option<(u64, End)>, result: (i32, i32)) -> Seen {
    Seen {
        cell: cell.parse::<Cell>().expect("a cell"),
        not_applicable: None,
        hung: None,
        written: 100,
        read: 0,
        input_before: 0,
        closing: Some(at(10)),
        closed: Some(Closed {
            result: result.0,
            errno: result.1,
            at: at(11),
        }),
        returned_first: true,
        released: at(12),
        reports: Vec::new(),
        log: Vec::new(),
        errors: String::new(),
        status: Some(0),
        wire: wire(packets),
        got: got.map(|(bytes, end)| Got {
            bytes,
            intact: true,
            end,
        }),
        late: Duration::ZERO,
    }
}

fn report() -> Value {
    json!({
        "fate": "delivered", "acked": 100, "lost": 0, "unsent": 0, "unread": 0,
        "rst_sent": false, "closed_first": "local", "elapsed_us": 1000, "error": null,
    })
}

fn with(mut report: Value, changes: &Value) -> Value {
    let changes = changes.as_object().expect("keys and values");
    for (key, value) in changes {
        report[key] = value.clone();
    }
    report
}

fn verdict(mut seen: Seen, report: Value) -> Verdict {
    seen.reports.push((at(3000), report));
    judge(&seen, &mut || None)
}

fn delivered() -> Seen {
    seen(
        "connect4.nothing.wait.full.call.single.blocking",
        DELIVERED,
        Some((100, End::Eof)),
        (0, 0),
    )
}

fn timed_out() -> Seen {
    let error = Some((60, End::Error(lastbyte::Errno::ECONNRESET)));
    seen(
        "connect4.nothing.wait.never.call.single.blocking",
        TIMED_OUT,
        error,
        (-1, libc::EWOULDBLOCK),
    )
}

fn timed_out_report() -> Value {
    with(
        report(),
        &json!({
            "fate": "timed_out", "acked": 60, "lost": 40, "unsent": 20, "rst_sent": true,
            "elapsed_us": 2_002_000, "error": "EWOULDBLOCK",
        }),
    )
}

#[test]
fn a_true_report_of_a_kept_row_is_right() {
    assert_eq!(verdict(delivered(), report()), Verdict::Kept("D1"));
    assert_eq!(
        verdict(timed_out(), timed_out_report()),
        Verdict::Kept("D2")
    );
}

#[test]
fn what_is_null_is_no_lie_except_where_the_contract_wants_it_exact() {
    let nothing = json!({
        "unsent": null, "unread": null, "rst_sent": null, "closed_first": null,
    });
    let unknown = json!({ "acked": null, "lost": null });
    assert_eq!(
        verdict(delivered(), with(report(), &nothing)),
        Verdict::Kept("D1")
    );
    assert_eq!(
        verdict(timed_out(), with(timed_out_report(), &nothing)),
        Verdict::Kept("D2")
    );
    let unexact = verdict(timed_out(), with(timed_out_report(), &unknown));
    assert!(matches!(unexact, Verdict::Wrong(_)), "{unexact}");
}

#[test]
fn an_acknowledgement_that_crosses_the_rst_counts_either_way() {
    let crossing = |ms| {
        let mut packets = TIMED_OUT.to_vec();
        packets.insert(4, (ms, false, ACK, 1, 81, 0));
        let error = Some((80, End::Error(lastbyte::Errno::ECONNRESET)));
        let cell = "connect4.nothing.wait.never.call.single.blocking";
        let seen = seen(cell, &packets, error, (-1, libc::EWOULDBLOCK));
        verdict(seen, timed_out_report())
    };
    assert_eq!(crossing(2012), Verdict::Kept("D2"));
    let long_before = crossing(1900);
    assert!(matches!(long_before, Verdict::Wrong(_)), "{long_before}");
}

#[test]
fn each_field_that_lies_is_found_out() {
    let lies = [
        json!({ "fate": "confirmed", "closed_first": "peer" }),
        json!({ "fate": "reset", "error": "ECONNRESET" }),
        json!({ "fate": "aborted" }),
        json!({ "fate": "timed_out", "error": "EWOULDBLOCK" }),
        json!({ "acked": 99 }),
        json!({ "acked": 101 }),
        json!({ "lost": 1 }),
        json!({ "unsent": 1 }),
        json!({ "unread": 1 }),
        json!({ "rst_sent": true }),
        json!({ "closed_first": "peer" }),
        json!({ "error": "ECONNRESET" }),
    ];
    for lie in lies {
        let verdict = verdict(delivered(), with(report(), &lie));
        assert!(matches!(verdict, Verdict::Wrong(_)), "{lie}: {verdict}");
    }
    let lies = [
        json!({ "fate": "delivered", "error": null }),
        json!({ "fate": "reset", "error": "ECONNRESET" }),
        json!({ "acked": 80 }),
        json!({ "lost": 0 }),
        json!({ "lost": 41 }),
        json!({ "unsent": 40 }),
        json!({ "rst_sent": false }),
        json!({ "elapsed_us": 1_900_000 }),
        json!({ "error": "ECONNRESET" }),
        json!({ "error": null }),
    ];
    for lie in lies {
        let verdict = verdict(timed_out(), with(timed_out_report(), &lie));
        assert!(matches!(verdict, Verdict::Wrong(_)), "{lie}: {verdict}");
    }
}

#[test]
fn a_report_before_its_time_is_found_out() {
    let mut seen = delivered();
    // Before the acknowledgement of the FIN.
    seen.reports.push((at(10), report()));
    let verdict = judge(&seen, &mut || None);
    assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict}");
}

#[test]
fn an_ending_that_breaks_its_row_is_found_out() {
    let mut short = delivered();
    short.got = Some(Got {
        bytes: 99,
        intact: true,
        end: End::Eof,
    });
    let mut altered = delivered();
    altered.got = Some(Got {
        bytes: 100,
        intact: false,
        end: End::Eof,
    });
    let mut silent = delivered();
    silent.got = Some(Got {
        bytes: 100,
        intact: true,
        end: End::Silence,
    });
    let mut failed = delivered();
    failed.closed = failed.closed.map(|closed| Closed {
        result: -1,
        errno: libc::EIO,
        ..closed
    });
    let mut hung = delivered();
    hung.hung = Some("it hung".into());
    for seen in [short, altered, silent, failed, hung] {
        let verdict = verdict(seen, report());
        assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict}");
    }
    let mut early = timed_out();
    early.closing = Some(at(30));
    let mut success = timed_out();
    success.closed = success.closed.map(|closed| Closed {
        result: 0,
        ..closed
    });
    for seen in [early, success] {
        let verdict = verdict(seen, timed_out_report());
        assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict}");
    }
}

#[test]
fn an_abort_without_an_rst_is_right_only_where_both_sides_had_closed() {
    let aborted = with(report(), &json!({ "fate": "aborted" }));
    let told = |cell: &str, packets: &[P]| {
        let seen = seen(cell, packets, Some((100, End::Eof)), (0, 0));
        verdict(seen, aborted.clone())
    };
    let shut = "connect4.shut_rdwr.abort.idle.call.single.closer";
    assert_eq!(told(shut, DELIVERED), Verdict::Kept("C3"));
    let open = told("connect4.nothing.abort.idle.call.single.closer", DELIVERED);
    assert!(matches!(open, Verdict::Wrong(_)), "{open}");
    let half = told(shut, &DELIVERED[..6]);
    assert!(matches!(half, Verdict::Wrong(_)), "{half}");
}

#[test]
fn the_kernels_way_has_to_be_said_and_to_be_the_kernels() {
    let lost = |who: &str| {
        let cell = format!("mptcp_connect.nothing.off.late.close.single.{who}");
        let error = End::Error(lastbyte::Errno::ECONNRESET);
        seen(&cell, LOST, Some((60, error)), (0, 0))
    };
    let shape = Shape::of(&lost("run"));
    let same = || Some(shape);
    assert_eq!(judge(&lost("run"), &mut || same()), Verdict::Unasked);
    let silent = judge(&lost("run_log"), &mut || same());
    assert!(matches!(silent, Verdict::Wrong(_)), "{silent}");
    let other = judge(&lost("run"), &mut || {
        Some(Shape {
            eof: Some(true),
            ..shape
        })
    });
    assert!(matches!(other, Verdict::Wrong(_)), "{other}");

    let account = |closes: u64| {
        let mut seen = lost("run_log");
        let account = json!({ "closes": closes, "reasons": {}, "lost": null, "uncovered": [] });
        seen.log
            .push(json!({ "time": "", "left_to_kernel": account }));
        judge(&seen, &mut || same())
    };
    assert_eq!(account(1), Verdict::Kernels);
    assert!(matches!(account(0), Verdict::Wrong(_)));

    let line = |changes: Value| {
        let line = json!({
            "local": "127.0.0.1:1000", "remote": "127.0.0.1:2000", "fate": "failed",
            "acked": 60, "lost": 40, "unsent": 20, "unread": null, "rst_sent": true,
            "closed_first": "local", "elapsed_us": 11_000, "error": null,
        });
        let mut seen = lost("run_log");
        seen.log.push(with(line, &changes));
        judge(&seen, &mut || same())
    };
    assert_eq!(line(json!({})), Verdict::Kernels);
    assert_eq!(
        line(json!({ "fate": "detached", "lost": null })),
        Verdict::Kernels
    );
    for lie in [
        json!({ "fate": "reset", "error": "ECONNRESET" }),
        json!({ "rst_sent": false }),
    ] {
        let verdict = line(lie);
        assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict}");
    }
}

#[test]
fn where_the_contract_can_be_kept_the_kernels_way_will_not_do() {
    let mut seen = seen(
        "connect4.nothing.off.late.close.single.run_log",
        LOST,
        Some((60, End::Error(lastbyte::Errno::ECONNRESET))),
        (0, 0),
    );
    seen.log.push(json!({
        "local": "127.0.0.1:1000", "remote": "127.0.0.1:2000", "fate": "failed", "acked": 60,
        "lost": 40, "unsent": 20, "unread": null, "rst_sent": true, "closed_first": "local",
        "elapsed_us": 1000, "error": null,
    }));
    let shape = Shape::of(&seen);
    let verdict = judge(&seen, &mut || Some(shape));
    assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict}");
}

#[test]
fn a_close_that_was_not_the_last_must_end_nothing() {
    let mut seen = seen(
        "connect4.nothing.off.full.close.fork.run_log",
        DELIVERED,
        Some((100, End::Eof)),
        (0, 0),
    );
    seen.closing = Some(at(11).after(Duration::from_micros(1)));
    let verdict = judge(&seen, &mut || None);
    assert!(
        verdict.to_string().contains("was not the last"),
        "{verdict}"
    );
}

#[test]
fn zero_endings_where_there_was_a_connection_is_a_lie() {
    let mut seen = seen(
        "connect4.nothing.off.full.close.single.run_summary",
        DELIVERED,
        Some((100, End::Eof)),
        (0, 0),
    );
    seen.errors = "lastbyte: 0 endings; bytes acknowledged 0".into();
    let verdict = judge(&seen, &mut || None);
    assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict}");
}
