//! Linger::Off with a receipt: closed at once, the kernel tells the fate.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

use common::{fill, pair, pair_on, read_all, reset};
use lastbyte::{CloseError, Closer, Fate, Policy, Report};

const LONG: Duration = Duration::from_secs(20);

/// Closes one by receipt, lets the peer do something, and returns the report.
fn closed(
    address: &str,
    ours_connects: bool,
    prepare: impl Fn(&std::net::TcpStream, &std::net::TcpStream) -> u64,
    then: impl FnOnce(std::net::TcpStream),
) -> (u64, Result<Report, CloseError>) {
    let closer = Closer::new().unwrap();
    let (connecting, accepted) = pair_on(address);
    let (ours, peer) = if ours_connects {
        (connecting, accepted)
    } else {
        (accepted, connecting)
    };
    let written = prepare(&ours, &peer);
    let (send, result) = mpsc::channel();
    closer
        .close(ours, Policy::off().with_receipt(true), move |r| {
            send.send(r).unwrap();
        })
        .unwrap();
    then(peer);
    let result = result.recv_timeout(LONG).unwrap();
    assert!(closer.wait_idle(LONG));
    (written, result)
}

#[test]
fn delivered() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for ours_connects in [true, false] {
            let (written, result) = closed(
                address,
                ours_connects,
                |ours, _| fill(ours),
                |peer| {
                    read_all(&peer).1.unwrap();
                },
            );
            let report = result.unwrap();
            assert_eq!(report.fate, Fate::Delivered);
            assert_eq!((report.acked, report.lost), (Some(written), Some(0)));
            assert_eq!(report.unread, None);
        }
    }
}

#[test]
fn reset_by_the_peer() {
    let (written, result) = closed("127.0.0.1:0", true, |ours, _| fill(ours), reset);
    let error = result.unwrap_err();
    let report = error.report().unwrap();
    match report.fate {
        // The notice has no reason: it need not have been the peer.
        Fate::Failed => assert_eq!((report.error, report.rst_sent), (None, None)),
        // The RST was there before the closer's thread came to leave the connection, which
        // it then looked at itself.
        fate => assert_eq!(fate, Fate::Reset),
    }
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    assert!(report.lost.unwrap() > 0);
}

/// The price: what plain close(2) does, but told.
#[test]
fn late_input_resets_and_the_report_says_so() {
    let (written, result) = closed(
        "127.0.0.1:0",
        false,
        |ours, _| fill(ours),
        |peer| {
            // The engine's thread closes at some time; until then this is unread
            // input, and the connection is held instead.
            while (&peer).write_all(&[1; 100]).is_ok() {
                if peer.take_error().unwrap().is_some() {
                    break;
                }
                if common::readable(&peer, Duration::ZERO) && read_all(&peer).1.is_err() {
                    break;
                }
            }
        },
    );
    match result {
        // Unread when it came to be closed, so it was held and delivered.
        Ok(report) => assert_eq!(report.fate, Fate::Delivered),
        Err(error) => {
            let report = error.report().unwrap();
            assert_eq!((report.fate, report.rst_sent), (Fate::Failed, Some(true)));
            assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
        }
    }
}

#[test]
fn unread_input_is_held_as_ever() {
    let (written, result) = closed(
        "127.0.0.1:0",
        true,
        |ours, mut peer| {
            peer.write_all(&[1; 1000]).unwrap();
            assert!(common::readable(ours, LONG));
            fill(ours)
        },
        |peer| {
            read_all(&peer).1.unwrap();
        },
    );
    let report = result.unwrap();
    assert_eq!(report.fate, Fate::Delivered);
    assert_eq!((report.acked, report.unread), (Some(written), Some(1000)));
}

#[test]
fn a_drain_waits_for_the_last_words() {
    let closer = Closer::new().unwrap();
    let mut peers = Vec::new();
    for _ in 0..4 {
        let (mut ours, peer) = pair();
        ours.write_all(&[1; 100]).unwrap();
        closer
            .close(ours, Policy::off().with_receipt(true), |_| {})
            .unwrap();
        peers.push(peer);
    }
    let (ours, _deaf) = pair();
    fill(&ours);
    closer
        .close(ours, Policy::off().with_receipt(true), |_| {})
        .unwrap();
    let drained = closer.drain(Duration::from_secs(1));
    // Those whose last word came before the drain began are not in it.
    assert!(drained.sums.delivered <= 4);
    assert_eq!(drained.sums.detached, 1);
}

/// Its last word would be spoken in another network namespace than the closer listens
/// in: it is held, and reported.
#[test]
fn a_connection_of_another_namespace_is_reported() {
    // Ours for this thread alone, which takes root.
    let elsewhere = std::thread::spawn(|| {
        // SAFETY: no pointer is passed.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } == -1 {
            return None;
        }
        common::loopback_up();
        let (mut ours, peer) = pair_on("127.0.0.1:0");
        std::io::Write::write_all(&mut ours, b"hello").unwrap();
        Some((ours, peer))
    });
    let Some((ours, peer)) = elsewhere.join().unwrap() else {
        return; // not permitted
    };
    let closer = Closer::new().unwrap();
    let (send, result) = mpsc::channel();
    closer
        .close(ours, Policy::off().with_receipt(true), move |r| {
            send.send(r).unwrap();
        })
        .unwrap();
    drop(peer);
    let report = match result.recv_timeout(LONG).unwrap() {
        Ok(report) => report,
        // The peer left it unread, and reset.
        Err(error) => *error.report().unwrap(),
    };
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), 5);
}
