//! Connections that were there before the watch: what of them was not seen is
//! inferred or null.

use crate::ending::{Ending, Evidence, Rst};
use crate::parse::trace::Event;
use crate::reason::Reason;
use crate::tracker::Tracker;
use crate::tuple::State::*;
use lastbyte::{Errno, Fate, Side};

use super::life::{Life, MS, answer, only};

/// Since when every tracepoint is on.
const COMPLETE: u64 = 5 * MS;

fn told(plays: impl FnOnce(&mut Tracker, &Life)) -> Ending {
    let mut tracker = Tracker::new(true);
    tracker.complete_since(COMPLETE);
    let life = Life {
        at: COMPLETE,
        ..Life::new(1)
    };
    plays(&mut tracker, &life);
    life.is_destroyed(&mut tracker, 30);
    life.destroy_notice(&mut tracker);
    answer(&mut tracker, COMPLETE + 40 * MS, Some(TimeWait));
    only(&mut tracker)
}

fn peers_rst(tracker: &mut Tracker, life: &Life, ms: u64) {
    let got = Event::ReceiveReset {
        sk: life.sk,
        cookie: life.cookie(),
    };
    life.event(tracker, ms, false, got);
    ends_by_itself(tracker, life, ms);
}

/// No process did it.
fn ends_by_itself(tracker: &mut Tracker, life: &Life, ms: u64) {
    let step = Event::SetState {
        sk: life.sk,
        tuple: life.tuple(),
        old: Established,
        new: Closed,
    };
    life.event(tracker, ms, false, step);
}

#[test]
fn a_peers_rst_is_the_first_that_is_heard_of_it() {
    let ending = told(|tracker, life| peers_rst(tracker, life, 20));
    assert_eq!(ending.fate, Some(Fate::Reset));
    assert_eq!(ending.rst.map(Rst::by), Some("peer"));
    assert_eq!(ending.closed_first, Some(Side::Peer));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn the_kernels_own_rst_is_the_first_that_is_heard_of_it() {
    let ending = told(|tracker, life| {
        let reset = Event::SendReset {
            sk: life.sk,
            tuple: life.tuple(),
            reason: Some(Reason::from_kernel("TCP_KEEPALIVE_TIMEOUT")),
            answers: false,
        };
        life.event(tracker, 20, false, reset);
        let tuple = life.tuple();
        let error = Event::Error { tuple, errno: 110 };
        life.event(tracker, 20, false, error);
        ends_by_itself(tracker, life, 20);
    });
    assert_eq!(ending.fate, Some(Fate::Failed));
    assert_eq!(ending.error, Some(Errno::from_raw(110)));
    assert_eq!(ending.rst.map(Rst::by), Some("local"));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn a_clean_end_is_right_and_inferred() {
    let ending = told(|tracker, life| {
        life.step(tracker, 10, Established, FinWait1);
        life.step(tracker, 20, FinWait1, FinWait2);
        life.step(tracker, 30, FinWait2, Closed);
    });
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.rst, Some(Rst::None));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn what_ended_while_the_tracepoints_were_switched_on_is_not_known() {
    // The tracepoint of the peer's RST may not have been on.
    let ending = told(|tracker, life| life.step(tracker, 1, Established, Closed));
    assert_eq!((ending.fate, ending.rst), (None, None));
    assert_eq!(ending.evidence, Evidence::Inferred);
    // Nor is it where its beginning was heard.
    let ending = told(|tracker, life| {
        life.opens(tracker);
        life.step(tracker, 1, Established, Closed);
    });
    assert_eq!((ending.fate, ending.rst), (None, None));
}

#[test]
fn a_connect_under_way_is_not_seen_from_its_start() {
    let ending = told(|tracker, life| {
        life.step(tracker, 1, SynSent, Established);
        life.step(tracker, 10, Established, FinWait1);
        life.step(tracker, 20, FinWait1, FinWait2);
        life.step(tracker, 30, FinWait2, Closed);
    });
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.evidence, Evidence::Inferred);
}
