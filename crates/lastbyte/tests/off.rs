//! Linger::Off: returns at once, delivers in the background.

mod common;

use std::io::Write;
use std::time::Duration;

use common::{fill, pair, read_all};
use lastbyte::{Fate, Linger};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_peer_that_reads_later_gets_everything() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let report = lastbyte::close(ours, Linger::Off).unwrap();
    assert_eq!(report.fate, Fate::Detached);
    // What becomes of the rest is not known yet.
    assert_eq!(report.lost, None);
    let (got, end) = read_all(&peer);
    end.unwrap();
    assert_eq!(got, written);
}

#[test]
fn unread_input_costs_nothing() {
    let (ours, mut peer) = pair();
    peer.write_all(&[1; 10_000]).unwrap();
    let written = fill(&ours);
    let _ = lastbyte::close(ours, Linger::Off).unwrap();
    let (got, end) = read_all(&peer);
    end.unwrap();
    assert_eq!(got, written);
}

#[test]
fn input_that_comes_after_the_close_costs_nothing() {
    let (ours, mut peer) = pair();
    let written = fill(&ours);
    let _ = lastbyte::close(ours, Linger::Off).unwrap();
    for _ in 0..10 {
        peer.write_all(&[1; 1000]).unwrap();
    }
    let (got, end) = read_all(&peer);
    end.unwrap();
    assert_eq!(got, written);
    peer.write_all(b"and more").unwrap();
    drop(peer);
    assert!(lastbyte::background().wait(LONG));
}

#[test]
fn the_sockets_own_option_does_not_block_the_close() {
    for own in [Linger::Wait(Duration::from_secs(60)), Linger::Abort] {
        let (ours, peer) = pair();
        let written = fill(&ours);
        own.set(&ours).unwrap();
        let report = lastbyte::close(ours, Linger::Off).unwrap();
        assert!(report.elapsed < LONG / 2);
        let (got, end) = read_all(&peer);
        end.unwrap();
        assert_eq!(got, written);
    }
}
