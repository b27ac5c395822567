//! What people and programs read, as snapshots of made-up results.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::findings::{Findings, Trace};
use crate::harness::{Flags, Packet, Place, Stamp, Wire};
use crate::lab::{Outcome, Results, RowResult};
use crate::rows::row;

const NONE: Flags = Flags {
    syn: false,
    ack: false,
    fin: false,
    rst: false,
    psh: false,
};
const SYN: Flags = Flags { syn: true, ..NONE };
const ACK: Flags = Flags { ack: true, ..NONE };
const FIN: Flags = Flags { fin: true, ..ACK };
const RST: Flags = Flags { rst: true, ..ACK };

fn ours() -> SocketAddr {
    "127.0.0.1:1000".parse().expect("an address")
}

fn peers() -> SocketAddr {
    "127.0.0.1:2000".parse().expect("an address")
}

/// Milliseconds from the call to close, the side, and the segment.
fn packet(ms: i32, us: bool, seq: u32, flags: Flags, len: u32) -> Packet {
    let (source, target) = match us {
        true => (ours(), peers()),
        false => (peers(), ours()),
    };
    Packet {
        at: at(ms),
        source,
        target,
        seq,
        ack: 0,
        flags,
        window: 64,
        len,
    }
}

fn at(ms: i32) -> Stamp {
    let ms = u32::try_from(10_000 + ms).expect("after the beginning");
    Stamp::from_parts(ms / 1000, ms % 1000 * 1_000_000)
}

/// A connection whose first payload byte has a number shortly before the wrap.
fn connection(ending: &[Packet]) -> Trace {
    let mut packets = vec![
        packet(-20, true, u32::MAX - 10, SYN, 0),
        packet(-19, false, 99, Flags { syn: true, ..ACK }, 0),
        packet(-18, true, u32::MAX - 9, ACK, 0),
        packet(-10, true, u32::MAX - 9, ACK, 1000),
        packet(-9, true, 990, ACK, 1000),
        packet(-8, true, 990, ACK, 1000),
        packet(-7, false, 100, ACK, 10),
    ];
    packets.extend_from_slice(ending);
    Trace {
        label: "off".to_owned(),
        origin: at(0),
        returned: Some(at(1)),
        wire: Wire::new(ours(), packets),
    }
}

fn ran(saw: &str, fault: Option<&str>, trace: Trace) -> Outcome {
    let mut findings = Findings::default();
    findings.saw(saw);
    findings.demand(fault.is_none(), || fault.unwrap_or_default().to_owned());
    findings.keep(trace);
    Outcome::Ran(findings)
}

fn results() -> Results {
    let kernel = ran(
        "returned after 1.00 ms; the peer got 2000 of 2500000 bytes, then ECONNRESET; we sent an RST",
        Some("the peer got 2000 of 2500000 bytes, then ECONNRESET"),
        connection(&[
            packet(1, true, 1990, RST, 0),
            packet(2, false, 110, ACK, 10),
        ]),
    );
    let lastbyte = ran(
        "returned after 1.00 ms; the peer got 2500000 of 2500000 bytes, then EOF",
        None,
        connection(&[
            packet(2, true, 1990, ACK, 2_498_000),
            packet(3, true, 2_499_990, FIN, 0),
            packet(4, true, 2_499_990, FIN, 0),
            packet(5, false, 110, FIN, 0),
        ]),
    );
    let not_run = || Outcome::NotRun("it needs a | right".to_owned());
    let broken = Outcome::Broken("the row panicked".to_owned());
    let of = |id, outcomes| RowResult {
        row: row(id).expect("a row"),
        outcomes,
    };
    Results {
        kernel: "6.18.0".to_owned(),
        place: Place::Loopback {
            why: "as asked".to_owned(),
        },
        rows: vec![
            of("B2", vec![kernel, lastbyte]),
            of("C1", vec![not_run(), broken]),
        ],
        dropped: 3,
        took: Duration::from_millis(6800),
    }
}

const NAMES: [&str; 2] = ["close(2)", "lastbyte"];

#[test]
fn the_table_and_its_summary() {
    let results = results();
    let text = format!("{}\n{}", table(&results, 100, false), summary(&results));
    insta::assert_snapshot!(text);
}

#[test]
fn the_markdown_table() {
    insta::assert_snapshot!(markdown(&results()));
}

#[test]
fn the_json_object() {
    let object = json(&results());
    insta::assert_snapshot!(serde_json::to_string_pretty(&object).expect("JSON"));
}

#[test]
fn the_packets_of_a_row() {
    insta::assert_snapshot!(trace(&results().rows[0], &NAMES));
}

/// Retransmitted bytes and FINs are drawn once, also across the wrap of sequence numbers;
/// nothing is drawn after an RST.
#[test]
fn the_picture_of_a_row() {
    let picture = ladder(&results().rows[0], &NAMES).expect("packets");
    insta::assert_snapshot!(picture);
}

#[test]
fn without_packets_there_is_no_picture() {
    assert_eq!(ladder(&results().rows[1], &NAMES), None);
}
