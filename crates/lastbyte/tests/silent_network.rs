//! Peers that acknowledge nothing. They fall silent by a filter on their socket, which
//! not every kernel lets ordinary users attach: then these tests are ignored.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

#[macro_use]
extern crate lastbyte_testkit;

mod common;

use std::io::Write;
use std::time::Duration;

use common::{blackhole, pair};
use lastbyte::{Fate, Linger};
use lastbyte_testkit::ignore;

fn main() -> std::process::ExitCode {
    lastbyte_testkit::main()
}

/// Drops whatever arrives for `stream`.
fn silence(stream: &std::net::TcpStream) {
    if let Err(error) = blackhole(stream) {
        ignore(&format!(
            "this user can attach no filter to a socket: {error}"
        ));
    }
}

#[test]
fn a_dead_network_times_out() {
    let (mut ours, peer) = pair();
    silence(&peer);
    ours.write_all(&[7; 1000]).unwrap();
    let error = lastbyte::close(ours, Linger::Wait(Duration::from_millis(200))).unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::TimedOut);
    assert_eq!((report.acked, report.lost), (Some(0), Some(1000)));
    assert_eq!(report.unsent, Some(0));
}

#[cfg(feature = "tokio")]
#[test]
#[tokio::main(flavor = "current_thread")]
async fn stalled_when_nothing_moves() {
    let (mut ours, peer) = pair();
    silence(&peer);
    ours.write_all(b"hello").unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = tokio::net::TcpStream::from_std(ours).unwrap();
    let policy = lastbyte::Policy::wait(Duration::from_secs(20)).stall(Duration::from_millis(250));
    let error = lastbyte::tokio::close(ours, policy).await.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::Stalled);
    assert_eq!((report.acked, report.lost), (Some(0), Some(5)));
}
