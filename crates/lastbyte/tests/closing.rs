//! The non-blocking form.

mod common;

use std::time::{Duration, Instant};

use common::{fill, hung_up, pair, read_all, readable, reset};
use lastbyte::{Closing, Fate, Linger, Policy};

const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_non_blocking_socket_is_never_blocked() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    ours.set_nonblocking(true).unwrap();
    let began = Instant::now();
    let error = lastbyte::close(ours, Linger::Wait(LONG)).unwrap_err();
    assert!(began.elapsed() < LONG / 2);
    assert!(error.would_block());
    assert_eq!(error.errno().unwrap().to_string(), "EWOULDBLOCK");
    let mut closing = error.into_closing().unwrap();
    assert!(closing.try_finish().unwrap_err().would_block());
    let reader = std::thread::spawn(move || read_all(&peer));
    let report = loop {
        match closing.try_finish() {
            Err(e) if e.would_block() => assert!(readable(&closing, LONG)),
            done => break done.unwrap(),
        }
    };
    assert_eq!(report.fate, Fate::Delivered);
    assert_eq!(report.acked, Some(written));
    assert_eq!(reader.join().unwrap().0, written);
    // Asked again it says the same, and a loop that polls again is not stuck.
    assert_eq!(closing.try_finish().unwrap(), report);
    assert!(readable(&closing, LONG));
}

#[test]
fn its_descriptor_tells_the_deadline() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let time = Duration::from_millis(250);
    let began = Instant::now();
    let mut closing = Closing::begin(ours, Policy::wait(time)).unwrap();
    let error = loop {
        match closing.try_finish() {
            Err(e) if e.would_block() => assert!(readable(&closing, LONG)),
            done => break done.unwrap_err(),
        }
    };
    assert!(began.elapsed() >= time);
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::TimedOut);
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    assert!(read_all(&peer).1.is_err());
}

#[test]
fn its_descriptor_tells_a_reset() {
    let (ours, peer) = pair();
    fill(&ours);
    let mut closing = Closing::begin(ours, Policy::wait(LONG)).unwrap();
    assert!(closing.try_finish().unwrap_err().would_block());
    // What was there at the beginning has been seen: quiet until the reset.
    reset(peer);
    assert!(readable(&closing, LONG));
    let error = closing.try_finish().unwrap_err();
    assert_eq!(error.fate(), Some(Fate::Reset));
}

#[test]
fn dropped_it_goes_on_to_delivery() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    drop(Closing::begin(ours, Policy::wait(LONG)).unwrap());
    let (got, end) = read_all(&peer);
    end.unwrap();
    assert_eq!(got, written);
}

#[test]
fn dropped_it_goes_on_to_its_deadline() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let time = Duration::from_millis(250);
    let began = Instant::now();
    drop(Closing::begin(ours, Policy::wait(time)).unwrap());
    // The peer reads nothing; the reset wakes it at the deadline.
    assert!(hung_up(&peer, LONG));
    assert!(began.elapsed() >= time);
    let (got, end) = read_all(&peer);
    assert!(end.is_err());
    assert!(got < written);
}
