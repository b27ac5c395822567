//! What is written as JSON about connections, beside what the kernel and the peer say.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a failing test fails")]

mod common;

use std::time::Duration;

use common::{fill, pair, reset};
use lastbyte::{Closer, Errno, Fate, Policy, Side, Total};
use serde_json::json;

#[test]
fn a_drain_as_json() {
    let closer = Closer::new().unwrap();
    let (ours, peer) = pair();
    fill(&ours);
    closer
        .close(ours, Policy::wait(Duration::from_secs(60)), |_| {})
        .unwrap();
    let drained = closer.drain(Duration::from_millis(50));
    let json = serde_json::to_value(&drained).unwrap();
    let connection = &json["endings"][0]["connection"];
    assert!(connection["id"].as_u64().unwrap() > 0);
    let ours = drained.endings[0].connection.local.unwrap();
    assert_eq!(connection["local"], json!(ours));
    assert_eq!(connection["peer"], json!(peer.local_addr().unwrap()));
    let report = &json["endings"][0]["report"];
    assert_eq!(report["fate"], "timed_out");
    assert_eq!(report["error"], "EWOULDBLOCK");
    assert_eq!(json["sums"]["timed_out"], 1);
    assert_eq!(json["sums"]["lost"], report["lost"]);
    assert_eq!(json["before"]["connections"], 0);
    assert_eq!(json["error"], json!(null));
}

#[test]
fn words_as_json() {
    for fate in Fate::ALL {
        assert_eq!(json!(fate), json!(fate.as_str()));
    }
    assert_eq!(json!([Side::Local, Side::Peer]), json!(["local", "peer"]));
    assert_eq!(
        json!([Errno::ECONNRESET, Errno::from_raw(12345)]),
        json!(["ECONNRESET", "errno 12345"])
    );
    let total: Total = [Some(30), None].into_iter().collect();
    assert_eq!(json!(total), json!({"known": 30, "unknown": 1}));
}

/// A connection that is gone has no peer's address any more: null, and not 0.0.0.0.
#[test]
fn what_is_not_known_is_null() {
    let (ours, peer) = pair();
    reset(peer);
    assert!(common::hung_up(&ours, Duration::from_secs(20)));
    let json = json!(lastbyte::Connection::of(&ours));
    assert_eq!(json["peer"], json!(null));
    assert_eq!(json["local"], json!(ours.local_addr().unwrap()));
    let file = std::fs::File::open("/dev/null").unwrap();
    let nobody = lastbyte::Connection::of(&file);
    assert_eq!(
        json!(nobody),
        json!({"id": null, "local": null, "peer": null})
    );
    assert_eq!(nobody.to_string(), "unknown to unknown, id unknown");
}
