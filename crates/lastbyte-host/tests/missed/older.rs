//! Connections that were there before the watch: what of them was not seen is
//! inferred or null.

use lastbyte::{Errno, Fate, Side};
use lastbyte_host::ending::{Ending, Evidence, Rst};
use lastbyte_host::parse::trace::Event;
use lastbyte_host::reason::Reason;
use lastbyte_host::tracker::Joiner;
use lastbyte_host::tuple::State::*;

use crate::life::{Life, MS, answer, only};

/// Since when every tracepoint is on.
const COMPLETE: u64 = 5 * MS;

fn told(plays: impl FnOnce(&mut Joiner, &Life)) -> Ending {
    let mut joiner = Joiner::new(true);
    joiner.complete_since(COMPLETE);
    let life = Life {
        at: COMPLETE,
        ..Life::new(1)
    };
    plays(&mut joiner, &life);
    life.is_destroyed(&mut joiner, 30);
    life.obituary(&mut joiner);
    answer(&mut joiner, COMPLETE + 40 * MS, Some(TimeWait));
    only(&mut joiner)
}

fn peers_rst(joiner: &mut Joiner, life: &Life, ms: u64) {
    let got = Event::ReceiveReset {
        sk: life.sk,
        cookie: life.cookie(),
    };
    life.event(joiner, ms, false, got);
    ends_by_itself(joiner, life, ms);
}

/// No process did it.
fn ends_by_itself(joiner: &mut Joiner, life: &Life, ms: u64) {
    let step = Event::SetState {
        sk: life.sk,
        tuple: life.tuple(),
        old: Established,
        new: Close,
    };
    life.event(joiner, ms, false, step);
}

#[test]
fn a_peers_rst_is_the_first_that_is_heard_of_it() {
    let ending = told(|joiner, life| peers_rst(joiner, life, 20));
    assert_eq!(ending.fate, Some(Fate::Reset));
    assert_eq!(ending.rst.map(Rst::by), Some("peer"));
    assert_eq!(ending.closed_first, Some(Side::Peer));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn the_kernels_own_rst_is_the_first_that_is_heard_of_it() {
    let ending = told(|joiner, life| {
        let reset = Event::SendReset {
            sk: life.sk,
            tuple: life.tuple(),
            reason: Some(Reason::from_kernel("TCP_KEEPALIVE_TIMEOUT")),
            answers: false,
        };
        life.event(joiner, 20, false, reset);
        let tuple = life.tuple();
        let error = Event::Error { tuple, errno: 110 };
        life.event(joiner, 20, false, error);
        ends_by_itself(joiner, life, 20);
    });
    assert_eq!(ending.fate, Some(Fate::Failed));
    assert_eq!(ending.error, Some(Errno::from_raw(110)));
    assert_eq!(ending.rst.map(Rst::by), Some("local"));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn a_clean_end_is_right_and_inferred() {
    let ending = told(|joiner, life| {
        life.step(joiner, 10, Established, FinWait1);
        life.step(joiner, 20, FinWait1, FinWait2);
        life.step(joiner, 30, FinWait2, Close);
    });
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.rst, Some(Rst::None));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn what_ended_while_the_tracepoints_were_switched_on_is_not_known() {
    // The tracepoint of the peer's RST may not have been on.
    let ending = told(|joiner, life| life.step(joiner, 1, Established, Close));
    assert_eq!((ending.fate, ending.rst), (None, None));
    assert_eq!(ending.evidence, Evidence::Inferred);
    // Nor is it where its beginning was heard.
    let ending = told(|joiner, life| {
        life.opens(joiner);
        life.step(joiner, 1, Established, Close);
    });
    assert_eq!((ending.fate, ending.rst), (None, None));
}

#[test]
fn a_connect_under_way_is_not_seen_from_its_start() {
    let ending = told(|joiner, life| {
        life.step(joiner, 1, SynSent, Established);
        life.step(joiner, 10, Established, FinWait1);
        life.step(joiner, 20, FinWait1, FinWait2);
        life.step(joiner, 30, FinWait2, Close);
    });
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.evidence, Evidence::Inferred);
}
