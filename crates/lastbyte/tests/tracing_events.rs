//! Feature `tracing`: one event for each report, whatever the form of close.
//!
//! One test only: the subscriber is the process's.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::fmt::Debug;
use std::net::TcpStream as Std;
use std::sync::Mutex;
use std::time::Duration;

use common::{fill, pair, readable};
use lastbyte::{Closer, Closing, Linger, Policy};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const LONG: Duration = Duration::from_secs(20);

static EVENTS: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

#[derive(Debug, Default)]
struct Seen {
    level: Option<Level>,
    peer: String,
    fate: String,
    lost: Option<u64>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "peer" {
            self.peer = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "fate" {
            self.fate = value.to_owned();
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "lost" {
            self.lost = Some(value);
        }
    }
}

struct Collect;

impl Subscriber for Collect {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "lastbyte"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut seen = Seen {
            level: Some(*event.metadata().level()),
            ..Seen::default()
        };
        event.record(&mut seen);
        EVENTS.lock().unwrap().push(seen);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn expect(peer: &Std, level: Level, fate: &str) -> Option<u64> {
    let events = std::mem::take(&mut *EVENTS.lock().unwrap());
    let [event] = &events[..] else {
        panic!("one event: {events:?}")
    };
    assert_eq!(event.peer, peer.local_addr().unwrap().to_string());
    assert_eq!((event.level, event.fate.as_str()), (Some(level), fate));
    event.lost
}

#[test]
fn each_form_gives_one_event() {
    tracing::subscriber::set_global_default(Collect).unwrap();
    let wait = Policy::wait(LONG);

    let (ours, peer) = pair();
    lastbyte::close(ours, wait).unwrap();
    expect(&peer, Level::DEBUG, "delivered");

    let (ours, peer) = pair();
    fill(&ours);
    let error = lastbyte::close(ours, Linger::Wait(Duration::from_millis(20))).unwrap_err();
    let lost = expect(&peer, Level::INFO, "timed_out");
    assert_eq!(lost, error.report().unwrap().lost);

    let (ours, peer) = pair();
    let mut closing = Closing::begin(ours, wait).unwrap();
    while closing.try_finish().is_err() {
        assert!(readable(&closing, LONG));
    }
    expect(&peer, Level::DEBUG, "delivered");

    let (ours, peer) = pair();
    let closer = Closer::new().unwrap();
    closer.close(ours, wait, |_| {}).unwrap();
    assert!(closer.wait_idle(LONG));
    expect(&peer, Level::DEBUG, "delivered");

    let (ours, peer) = pair();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { lastbyte::on_tokio::close(ours, wait).await })
        .unwrap();
    expect(&peer, Level::DEBUG, "delivered");
}
