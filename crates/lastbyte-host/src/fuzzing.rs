//! What the fuzz targets run; there only where `cfg(fuzzing)` is set.

use std::collections::HashMap;

use lastbyte_tcp::netlink;

use crate::parse::inet_diag::Socket;
use crate::parse::perf::Record;
use crate::parse::procnet::{Counters, inline, pairs};
use crate::parse::ring_page::Page;
use crate::parse::trace::{Event, Layouts};
use crate::parse::tracefs::{Field, Format};

use crate::tracker::Tracker;
use crate::tuple::State;

/// Reads a datagram of `NETLINK_SOCK_DIAG`.
pub fn netlink(datagram: &[u8]) {
    for message in netlink::messages(datagram) {
        let _ = message.error();
        let _ = Socket::parse(message.payload);
    }
}

/// Reads a record of a perf ring.
pub fn perf_record(record: &[u8]) {
    let _ = Record::length(record);
    if let Some(Record::Comm { comm, .. }) = Record::parse(record) {
        assert!(comm.to_string().chars().all(|c| !c.is_control()));
    }
}

/// Reads `/proc/net/netstat`, `snmp` and `sockstat`.
pub fn procnet(text: &str) {
    let mut counters = Counters::new();
    pairs(text, &mut counters);
    inline(text, &mut counters);
}

/// Reads a `format` file of tracefs.
pub fn tracefs_format(text: &str) {
    let _ = Format::parse(text);
}

/// Reads a raw tracepoint record, alone and in a page, by a layout with these offsets.
pub fn trace_record(offsets: [u8; 16], record: &[u8]) {
    let names = [
        "skaddr",
        "oldstate",
        "newstate",
        "protocol",
        "sport",
        "dport",
        "saddr_v6",
        "daddr_v6",
        "skbaddr",
        "reason",
        "saddr",
        "daddr",
        "sock_cookie",
        "error",
    ];
    let field = |offset: u8| Field {
        offset: offset.into(),
        size: 8,
    };
    let fields: HashMap<_, _> = names
        .iter()
        .zip(offsets)
        .map(|(name, offset)| ((*name).to_owned(), field(offset)))
        .collect();
    let format = |id| Format {
        id,
        fields: fields.clone(),
        ..Format::default()
    };
    let formats = [format(1), format(2), format(3), format(4), format(5)];
    if let Ok(layouts) = Layouts::new(&formats) {
        if let Some(trace) = layouts.decode(record)
            && let Event::SetState { tuple, .. } = trace.event
        {
            let _ = tuple.local.to_string();
        }
        if let Some(page) = Page::parse(record) {
            for (_, record) in page.records() {
                let _ = layouts.decode(record);
            }
        }
    }
}

/// Plays any sequence of destroy notices, rows and answers to the tracker: each connection
/// is reported once, and nothing is reported that was not there.
pub fn tracker(steps: Vec<(u8, Vec<u8>)>) {
    let tracing = steps.first().is_some_and(|(kind, _)| kind & 128 != 0);
    let mut tracker = Tracker::new(tracing);
    let (mut now, mut given, mut reported) = (0, 0, 0);
    for (kind, bytes) in steps {
        now += u64::from(kind) * 1_000_000;
        match (kind % 4, Socket::parse(&bytes)) {
            (0, Some(socket)) => {
                tracker.destroy_notice(now, &socket);
                given += 1;
            }
            (1, Some(socket)) => {
                tracker.begin_round(now);
                tracker.row(now, &socket);
                tracker.end_round(|_| None);
            }
            (_, held) => {
                let state = State::from_raw(u32::from(kind) % 14);
                let held = held.zip(state);
                let held = held.map(|(socket, state)| Socket { state, ..socket });
                for tuple in tracker.queries(now, 100) {
                    tracker.answer(now, tuple, held.as_ref());
                }
                // Some answers are faster than what is joined.
                tracker.tick(now.saturating_sub(u64::from(kind >> 4) * 1_000_000));
            }
        }
        for finished in tracker.take() {
            let _ = finished.ending.to_json();
            reported += 1;
        }
    }
    tracker.flush();
    reported += tracker.take().len() as u64;
    assert_eq!(reported + tracker.counts().not_connections, given);
}
