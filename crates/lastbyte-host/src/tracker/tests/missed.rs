//! What the tracker tells when steps were missed or a table was full: what is not
//! known is null and inferred, and nothing is wrong.

use crate::ending::{Evidence, Rst};
use crate::parse::trace::Event;
use crate::reason::Reason;
use crate::tracker::Tracker;
use crate::tuple::State::{self, *};
use lastbyte::{Fate, Side};

use super::life::{Life, MS, answer, asked, only, opened};

#[test]
fn what_was_seen_whole_is_observed() {
    let (mut tracker, life) = opened();
    let ending = life.ends_in_time_wait(&mut tracker);
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.rst, Some(Rst::None));
    assert_eq!(ending.closed_first, Some(Side::Local));
    assert_eq!(ending.closer.map(|process| process.pid), Some(812));
    assert_eq!(ending.evidence, Evidence::Observed);
}

/// A connection that this end closed first, whose socket is gone, and what is answered
/// of its ends at these milliseconds.
fn closed_first(answers: &[(u64, Option<State>)]) -> (Tracker, Life) {
    let (mut tracker, life) = opened();
    life.closes_first(&mut tracker);
    life.destroy_notice(&mut tracker);
    for (ms, state) in answers {
        answer(&mut tracker, ms * MS, *state);
    }
    (tracker, life)
}

#[test]
fn delivered_is_observed_only_where_the_peer_is_known_not_to_have_closed() {
    let told = |answers: &[(u64, Option<State>)]| {
        let (mut tracker, _) = closed_first(answers);
        let ending = only(&mut tracker);
        assert_eq!(ending.fate, Some(Fate::Delivered));
        ending.evidence
    };
    // Asked too late, or the TIME_WAIT gave way to a new connection: it may have closed.
    assert_eq!(told(&[(40, None)]), Evidence::Inferred);
    assert_eq!(told(&[(40, Some(Established))]), Evidence::Inferred);
    // It went sooner than the kernel forgets it.
    assert_eq!(
        told(&[(40, Some(FinWait2)), (90, None)]),
        Evidence::Inferred
    );
    let waiting = (40, Some(FinWait2));
    assert_eq!(
        told(&[waiting, (5_040, Some(SynReceived))]),
        Evidence::Inferred
    );
    assert_eq!(told(&[waiting, (70_000, None)]), Evidence::Inferred);
    // It waited until the kernel forgot it.
    assert_eq!(told(&[waiting, (5_040, None)]), Evidence::Observed);
}

#[test]
fn an_rst_that_ended_the_wait_for_the_peer_is_told_though_the_look_up_was_faster() {
    let told = |by: Side, reason: Reason, faster: bool| {
        let (mut tracker, life) = closed_first(&[(40, Some(FinWait2))]);
        if faster {
            asked(&mut tracker, 95 * MS, None);
            // Joined is what happened before the look-up, and not all of it.
            tracker.tick(94 * MS);
            assert!(tracker.take().is_empty());
        }
        life.reset(&mut tracker, 93, by, reason);
        if !faster {
            asked(&mut tracker, 95 * MS, None);
        }
        tracker.tick(95 * MS);
        let ending = only(&mut tracker);
        assert_eq!(ending.fate, Some(Fate::Delivered));
        assert_eq!(ending.closed_first, Some(Side::Local));
        (ending.rst, ending.bytes.unread, ending.evidence)
    };
    for faster in [true, false] {
        let rst = |side, reason| {
            Some(Rst::By {
                side,
                reason: Some(reason),
                listener: false,
            })
        };
        let (late, unread) = (Reason::TIMEWAIT_SOCKET, Reason::ABORT_ON_CLOSE);
        let ours = (rst(Side::Local, late), None, Evidence::Observed);
        assert_eq!(told(Side::Local, late, faster), ours);
        let theirs = (rst(Side::Peer, unread), Some(0), Evidence::Inferred);
        assert_eq!(told(Side::Peer, unread, faster), theirs);
    }
}

#[test]
fn no_rst_is_told_only_where_none_can_have_come() {
    let told = |answers: &[(u64, Option<State>)]| {
        let (mut tracker, life) = closed_first(answers);
        // Long after, the peer's end meets an RST of its own making.
        life.reset(&mut tracker, 9_000, Side::Peer, Reason::ABORT_ON_CLOSE);
        only(&mut tracker).rst
    };
    // A peer on another host may have reset it.
    assert_eq!(told(&[(40, None)]), None);
    assert_eq!(told(&[(40, Some(FinWait2)), (95, None)]), None);
    // The peer's FIN came, or the kernel let it go in its time.
    assert_eq!(told(&[(40, Some(TimeWait))]), Some(Rst::None));
    let waited = [(40, Some(FinWait2)), (5_040, None)];
    assert_eq!(told(&waited), Some(Rst::None));
}

#[test]
fn the_same_ends_again_do_not_show_how_the_earlier_connection_ended() {
    let mut tracker = Tracker::new(true);
    for number in [1, 2] {
        let life = Life {
            number: 1,
            ..Life::new(number)
        };
        life.opens(&mut tracker);
        life.closes_first(&mut tracker);
        life.destroy_notice(&mut tracker);
    }
    let ending = only(&mut tracker);
    assert_eq!(ending.fate, Some(Fate::Delivered));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn when_too_many_wait_to_be_asked_the_rest_is_inferred() {
    let mut tracker = Tracker::new(true);
    for number in 1.. {
        let life = Life::new(number);
        life.opens(&mut tracker);
        life.closes_first(&mut tracker);
        life.destroy_notice(&mut tracker);
        if let Some(told) = tracker.take().pop() {
            assert_eq!(told.ending.fate, Some(Fate::Delivered));
            assert_eq!(told.ending.evidence, Evidence::Inferred);
            assert_eq!(tracker.waiting(), number as usize - 1);
            assert_eq!(tracker.counts().unasked, 1);
            return;
        }
    }
}

#[test]
fn after_a_gap_no_rst_is_unknown_and_not_none() {
    let (mut tracker, life) = opened();
    // The peer's RST is among what was dropped; a system call of ours met it.
    tracker.missed(life.at + 5 * MS, life.at + 6 * MS);
    life.step(&mut tracker, 10, Established, Closed);
    life.is_destroyed(&mut tracker, 10);
    life.destroy_notice(&mut tracker);
    let ending = only(&mut tracker);
    assert_eq!((ending.fate, ending.rst), (None, None));
    assert_eq!((ending.closed_first, ending.closer), (None, None));
    assert_eq!(ending.bytes.unread, None);
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn a_peers_rst_after_a_gap_may_have_been_provoked_by_ours() {
    let (mut tracker, life) = opened();
    life.step(&mut tracker, 10, Established, FinWait1);
    let got = Event::ReceiveReset {
        sk: life.sk,
        cookie: life.cookie(),
    };
    life.event(&mut tracker, 20, false, got);
    life.step(&mut tracker, 20, FinWait1, Closed);
    tracker.missed(life.at + 20 * MS, life.at + 21 * MS);
    life.is_destroyed(&mut tracker, 20);
    life.destroy_notice(&mut tracker);
    let ending = only(&mut tracker);
    assert_eq!((ending.fate, ending.rst), (None, None));
    // That our FIN came before any RST is certain.
    assert_eq!(ending.closed_first, Some(Side::Local));
    assert_eq!(ending.closer.map(|process| process.pid), Some(812));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn our_own_rst_is_told_though_a_gap_was_near() {
    let (mut tracker, life) = opened();
    tracker.missed(life.at + 5 * MS, life.at + 6 * MS);
    life.step(&mut tracker, 10, Established, Closed);
    life.aborts(&mut tracker, 10);
    life.is_destroyed(&mut tracker, 10);
    life.destroy_notice(&mut tracker);
    let ending = only(&mut tracker);
    assert_eq!(ending.fate, Some(Fate::Aborted));
    assert_eq!(ending.rst.map(Rst::by), Some("local"));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn after_a_gap_time_wait_still_shows_that_the_peer_closed() {
    let (mut tracker, life) = opened();
    tracker.missed(life.at + 25 * MS, life.at + 26 * MS);
    let ending = life.ends_in_time_wait(&mut tracker);
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.rst, Some(Rst::None));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn a_gap_while_the_peer_is_waited_for_may_hide_a_late_rst() {
    let (mut tracker, life) = opened();
    life.closes_first(&mut tracker);
    life.destroy_notice(&mut tracker);
    answer(&mut tracker, 40 * MS, Some(FinWait2));
    tracker.missed(1_000 * MS, 1_001 * MS);
    answer(&mut tracker, 5_040 * MS, None);
    let ending = only(&mut tracker);
    assert_eq!((ending.fate, ending.rst), (Some(Fate::Delivered), None));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn a_gap_long_before_the_end_is_of_no_matter() {
    let (mut tracker, life) = opened();
    tracker.missed(life.at + 5 * MS, life.at + 6 * MS);
    let ending = life.ends_in_time_wait(&mut tracker);
    assert_eq!(ending.evidence, Evidence::Observed);
}

#[test]
fn a_missing_step_leaves_no_wrong_time() {
    let (mut tracker, life) = opened();
    // Our close was dropped: FIN_WAIT1 did not begin when it was established.
    tracker.missed(life.at + 10 * MS, life.at + 10 * MS);
    life.step(&mut tracker, 20, FinWait1, FinWait2);
    life.step(&mut tracker, 30, FinWait2, Closed);
    life.is_destroyed(&mut tracker, 30);
    life.destroy_notice(&mut tracker);
    answer(&mut tracker, 40 * MS, Some(TimeWait));
    let ending = only(&mut tracker);
    assert_eq!(ending.states.expect("its end was seen").fin_wait1, None);
    assert_eq!(ending.closed_first, Some(Side::Local));
    assert_eq!(ending.closer, None);
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn a_socket_at_a_used_address_begins_anew() {
    let mut tracker = Tracker::new(true);
    let earlier = Life::new(1);
    earlier.opens(&mut tracker);
    earlier.step(&mut tracker, 10, Established, FinWait1);
    // Its end was dropped. The next socket there is accepted, and its peer closes.
    tracker.missed(earlier.at + 11 * MS, earlier.at + 12 * MS);
    let life = Life {
        sk: earlier.sk,
        ..Life::new(100)
    };
    life.step(&mut tracker, 0, SynReceived, Established);
    life.step(&mut tracker, 10, Established, CloseWait);
    life.step(&mut tracker, 20, CloseWait, LastAck);
    life.step(&mut tracker, 30, LastAck, Closed);
    life.is_destroyed(&mut tracker, 30);
    life.destroy_notice(&mut tracker);
    let told = tracker.take().pop().expect("it ended");
    assert_eq!(told.opened, Some(life.at));
    assert_eq!(told.ending.tuple, life.tuple());
    assert_eq!(told.ending.closed_first, Some(Side::Peer));
    assert_eq!(told.ending.fate, Some(Fate::Confirmed));
    assert_eq!(told.ending.evidence, Evidence::Observed);
}

#[test]
fn a_socket_at_a_used_address_is_known_by_its_ends_alone() {
    let mut tracker = Tracker::new(true);
    let earlier = Life::new(1);
    earlier.opens(&mut tracker);
    tracker.missed(earlier.at + 11 * MS, earlier.at + 99 * MS);
    // Of the next one there, the beginning is missing too.
    let life = Life {
        sk: earlier.sk,
        ..Life::new(100)
    };
    life.aborts(&mut tracker, 5);
    life.closes_first(&mut tracker);
    life.destroy_notice(&mut tracker);
    answer(&mut tracker, 140 * MS, Some(TimeWait));
    let told = tracker.take().pop().expect("it ended");
    assert_eq!(told.opened, None);
    assert_eq!(told.ending.tuple, life.tuple());
    // Nor does an RST of another's ends stick to the earlier one.
    earlier.step(&mut tracker, 200, Established, Closed);
    earlier.is_destroyed(&mut tracker, 200);
    earlier.destroy_notice(&mut tracker);
    let ending = only(&mut tracker);
    assert_eq!((ending.fate, ending.rst), (None, None));
}

#[test]
fn an_ending_whose_story_was_let_go_is_inferred() {
    let mut tracker = Tracker::new(true);
    let lives: Vec<_> = (1..=(1 << 18) + 1).map(Life::new).collect();
    for life in &lives {
        assert_eq!(tracker.counts().unfollowed, 0);
        life.opens(&mut tracker);
        life.closes_first(&mut tracker);
    }
    assert_eq!(tracker.counts().unfollowed, 1);
    let last = lives[lives.len() - 1];
    for (life, evidence) in [(lives[0], Evidence::Inferred), (last, Evidence::Observed)] {
        life.destroy_notice(&mut tracker);
        answer(&mut tracker, last.at + 40 * MS, Some(TimeWait));
        let ending = only(&mut tracker);
        assert_eq!(ending.fate, Some(Fate::Confirmed));
        assert_eq!(ending.evidence, evidence);
    }
}

#[test]
fn stories_without_an_end_make_room_after_a_gap() {
    let mut tracker = Tracker::new(true);
    let full = 1 << 17;
    for number in 1..=full {
        Life::new(number).opens(&mut tracker);
    }
    let unfollowed = Life::new(full + 1);
    unfollowed.opens(&mut tracker);
    assert!(tracker.counts().unfollowed > 0);
    // Of what is not followed the end alone may be heard: then little is known.
    let before = tracker.counts().unfollowed;
    tracker.missed(unfollowed.at, unfollowed.at + MS);
    unfollowed.step(&mut tracker, 10, Established, Closed);
    unfollowed.is_destroyed(&mut tracker, 10);
    unfollowed.destroy_notice(&mut tracker);
    let ending = only(&mut tracker);
    assert_eq!((ending.fate, ending.rst), (None, None));
    assert_eq!(ending.evidence, Evidence::Inferred);
    // The ends of all the others were in the gap.
    let life = Life::new(full + 2);
    life.opens(&mut tracker);
    assert_eq!(tracker.counts().unfollowed, before);
    let ending = life.ends_in_time_wait(&mut tracker);
    assert_eq!(ending.evidence, Evidence::Observed);
}

#[test]
fn what_a_timer_ended_was_given_up_unless_an_rst_may_have_gone_unseen() {
    let told = |gap: bool| {
        let (mut tracker, life) = opened();
        life.step(&mut tracker, 10, Established, FinWait1);
        if gap {
            tracker.missed(life.at + 15 * MS, life.at + 16 * MS);
        }
        life.step(&mut tracker, 20, FinWait1, Closed);
        life.is_destroyed(&mut tracker, 20);
        life.destroy_notice(&mut tracker);
        only(&mut tracker)
    };
    let ending = told(false);
    assert_eq!((ending.fate, ending.error), (Some(Fate::Failed), None));
    assert_eq!(ending.rst, Some(Rst::None));
    assert_eq!(ending.evidence, Evidence::Observed);
    let ending = told(true);
    assert_eq!((ending.fate, ending.rst), (None, None));
}

#[test]
fn what_was_wiped_after_its_last_ack_was_confirmed_or_is_unknown() {
    let told = |by_process: bool| {
        let (mut tracker, life) = opened();
        life.step(&mut tracker, 10, Established, CloseWait);
        life.step(&mut tracker, 20, CloseWait, LastAck);
        let last = Event::SetState {
            sk: life.sk,
            tuple: life.tuple(),
            old: LastAck,
            new: Closed,
        };
        life.event(&mut tracker, 30, by_process, last);
        life.is_let_go(&mut tracker, 5_000);
        life.wiped_notice(&mut tracker);
        let ending = only(&mut tracker);
        assert_eq!(ending.rst, Some(Rst::None));
        assert_eq!(ending.closed_first, Some(Side::Peer));
        ending.fate
    };
    assert_eq!(told(false), Some(Fate::Confirmed));
    // It may have disconnected instead.
    assert_eq!(told(true), None);
}

#[test]
fn of_crossing_fins_none_came_first() {
    let (mut tracker, life) = opened();
    life.step(&mut tracker, 10, Established, FinWait1);
    life.step(&mut tracker, 20, FinWait1, Closing);
    life.step(&mut tracker, 30, Closing, Closed);
    life.is_destroyed(&mut tracker, 30);
    life.destroy_notice(&mut tracker);
    let ending = only(&mut tracker);
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.closed_first, None);
    assert_eq!(ending.evidence, Evidence::Observed);
}

#[test]
fn whoever_was_at_the_socket_when_a_timer_ran_out_has_not_closed_it() {
    let (mut tracker, life) = opened();
    // The kernel puts the timer off until the process has left the socket.
    life.step(&mut tracker, 10, Established, Closed);
    let tuple = life.tuple();
    let error = Event::Error { tuple, errno: 110 };
    life.event(&mut tracker, 10, true, error);
    life.is_let_go(&mut tracker, 20);
    life.destroy_notice(&mut tracker);
    let ending = only(&mut tracker);
    assert_eq!(ending.fate, Some(Fate::Failed));
    assert_eq!((ending.closer, ending.closed_first), (None, None));
    assert_eq!(ending.owner.map(|process| process.pid), Some(812));
}
