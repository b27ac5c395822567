//! Defaults, and what each setting makes of a close.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// What the public documentation says of a policy that nothing was set in.
#[test]
fn a_plain_policy_refines_nothing() {
    for (policy, linger) in [
        (Policy::off(), Linger::Off),
        (Policy::default(), Linger::Off),
        (Policy::abort(), Linger::Abort),
        (Policy::wait(SECOND), Linger::Wait(SECOND)),
        (Policy::from(Linger::Abort), Linger::Abort),
        (Policy::off().with_linger(Linger::Abort), Linger::Abort),
    ] {
        assert_eq!(policy.linger(), linger);
        assert_eq!((policy.stall(), policy.drain_time()), (None, None));
        assert_eq!(policy.drain_bytes(), 64 * 1024 * 1024);
        assert_eq!(policy.shut_down(), None);
        assert!(policy.time_wait() && !policy.confirm() && !policy.receipt());
    }
}

#[test]
fn a_stall_time_is_ten_milliseconds_or_longer() {
    for (asked, kept) in [(0, 10), (9, 10), (10, 10), (11, 11), (5000, 5000)] {
        let policy = Policy::off().with_stall(Duration::from_millis(asked));
        assert_eq!(policy.stall(), Some(Duration::from_millis(kept)));
    }
}

/// A quiet peer is held by a background close, and by one that was asked to.
#[test]
fn a_connection_is_held_ten_seconds_unless_another_time_was_set() {
    let wait = Policy::wait(SECOND);
    assert_eq!(wait.hold_time(), Duration::from_secs(10));
    assert_eq!(wait.with_drain_time(SECOND).hold_time(), SECOND);
    assert!(Policy::off().holds_quiet() && !wait.holds_quiet());
    assert!(wait.with_drain_time(SECOND).holds_quiet());
}

#[test]
fn each_side_that_the_program_shut_down_is_known_as_that_side() {
    for (side, sent_fin, half_closed) in [
        (Shutdown::Read, false, false),
        (Shutdown::Write, true, true),
        (Shutdown::Both, true, false),
    ] {
        let policy = Policy::off().with_shut_down(side);
        assert_eq!(policy.shut_down(), Some(side));
        assert_eq!(policy.has_sent_fin(), sent_fin, "{side:?}");
        assert_eq!(policy.is_half_closed(), half_closed, "{side:?}");
    }
    assert!(!Policy::off().has_sent_fin() && !Policy::off().is_half_closed());
}

#[cfg(feature = "tokio")]
#[test]
fn a_sending_side_that_is_shut_down_later_keeps_the_other_sides_word() {
    let both = Some(Shutdown::Both);
    let write = Some(Shutdown::Write);
    let off = Policy::off();
    assert_eq!(off.and_sending_shut_down().shut_down(), write);
    for (side, then) in [
        (Shutdown::Read, both),
        (Shutdown::Write, write),
        (Shutdown::Both, both),
    ] {
        let policy = off.with_shut_down(side).and_sending_shut_down();
        assert_eq!(policy.shut_down(), then, "{side:?}");
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_server_holds_a_quiet_peer_for_the_time_that_was_set_or_the_default() {
    let held = Policy::wait(SECOND).held();
    assert_eq!(held.drain_time(), Some(Policy::DRAIN_TIME));
    let zero = Policy::wait(SECOND).with_drain_time(Duration::ZERO);
    assert_eq!(zero.held().drain_time(), Some(Duration::ZERO));
}

/// The documentation of `with_receipt`: with off, and with nothing else.
#[test]
fn a_receipt_is_for_a_background_close_alone() {
    assert!(Policy::off().with_receipt(true).is_by_receipt());
    assert!(!Policy::off().is_by_receipt());
    for policy in [Policy::abort(), Policy::wait(SECOND)] {
        assert!(!policy.with_receipt(true).is_by_receipt());
    }
}
