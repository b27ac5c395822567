//! Linger::Abort: reset, discard, and count.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::{fill, pair, read_all, readable};
use lastbyte::{Fate, Linger, Policy, Side};

#[test]
fn what_was_queued_is_discarded_and_counted() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let report = lastbyte::close(ours, Linger::Abort).unwrap();
    assert_eq!(report.fate, Fate::Aborted);
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    assert_eq!(report.rst_sent, Some(true));
    assert_eq!(report.closed_first, Some(Side::Local));
    let (got, end) = read_all(&peer);
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(got < written);
}

/// An RST goes out where the peer can still be surprised by it.
#[test]
fn from_every_state_of_a_close() {
    struct Case {
        name: &'static str,
        prepare: fn(&TcpStream, &TcpStream),
        rst: bool,
    }
    let cases = [
        Case {
            name: "CLOSE_WAIT",
            prepare: |ours, peer| {
                peer.shutdown(Shutdown::Write).unwrap();
                assert!(readable(ours, Duration::from_secs(5)));
            },
            rst: true,
        },
        Case {
            name: "FIN_WAIT1",
            prepare: |ours, _| {
                fill(ours);
                ours.shutdown(Shutdown::Write).unwrap();
            },
            rst: true,
        },
        Case {
            name: "FIN_WAIT2",
            prepare: |ours, peer| {
                ours.shutdown(Shutdown::Write).unwrap();
                assert!(readable(peer, Duration::from_secs(5)));
            },
            rst: true,
        },
        Case {
            name: "closed by both",
            prepare: |ours, peer| {
                ours.shutdown(Shutdown::Write).unwrap();
                assert!(readable(peer, Duration::from_secs(5)));
                peer.shutdown(Shutdown::Write).unwrap();
                assert_eq!((&mut &*ours).read(&mut [0; 1]).unwrap(), 0);
            },
            rst: false,
        },
    ];
    for Case { name, prepare, rst } in cases {
        let (ours, peer) = pair();
        prepare(&ours, &peer);
        let report = lastbyte::close(ours, Linger::Abort).unwrap();
        assert_eq!(report.fate, Fate::Aborted, "{name}");
        assert_eq!(report.rst_sent, Some(rst), "{name}");
    }
}

#[test]
fn a_duplicate_does_not_keep_the_connection() {
    let (ours, peer) = pair();
    let _duplicate = ours.try_clone().unwrap();
    let _ = lastbyte::close(ours, Linger::Abort).unwrap();
    let (_, end) = read_all(&peer);
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn without_time_wait_ends_in_a_reset_after_delivery() {
    let (mut ours, mut peer) = pair();
    ours.write_all(b"all of it").unwrap();
    let policy = Policy::wait(Duration::from_secs(5)).with_time_wait(false);
    let report = lastbyte::close(ours, policy).unwrap();
    assert_eq!(report.fate, Fate::Delivered);
    assert_eq!(report.rst_sent, Some(true));
    let mut got = Vec::new();
    // On Linux the RST does not take what the peer has already.
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"all of it");
}
