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
    let policy =
        lastbyte::Policy::wait(Duration::from_secs(20)).with_stall(Duration::from_millis(250));
    let error = lastbyte::on_tokio::close(ours, policy).await.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::Stalled);
    assert_eq!((report.acked, report.lost), (Some(0), Some(5)));
}

/// A shutdown in another runtime waits for what the background has, but not beyond its
/// deadline.
#[cfg(feature = "tokio")]
#[test]
fn a_shutdown_does_not_wait_for_the_background_beyond_its_deadline() {
    const LONG: Duration = Duration::from_secs(20);
    let first = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut listener = first
        .block_on(lastbyte::on_tokio::Listener::bind(
            "127.0.0.1:0",
            lastbyte::Policy::wait(LONG),
        ))
        .unwrap();
    let handle = listener.handle();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    silence(&client);
    let (stream, _) = first.block_on(listener.accept()).unwrap().unwrap();
    drop((listener, first));
    drop(stream);
    let began = std::time::Instant::now();
    let second = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let drained = second.block_on(handle.shutdown(Duration::from_millis(300)));
    assert!(began.elapsed() < LONG / 2);
    assert_eq!((drained.sums.connections, drained.sums.unseen), (1, 1));
    assert_eq!(handle.open(), 0);
}
