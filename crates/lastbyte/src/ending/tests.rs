//! The machine step by step, in virtual time.

use std::time::Duration;

use super::*;
use crate::sys::code;

const SECOND: Duration = Duration::from_secs(1);

fn seen(queued: u64) -> Observation {
    Observation {
        queued: Ok(queued),
        input: Some(Input::NONE),
        detail: None,
    }
}

/// A connecting side that wrote 100 bytes, of which `queued` are not
/// acknowledged and `unsent` not transmitted; a FIN counts in both.
fn full(state: TcpState, queued: u64, unsent: u64) -> Observation {
    let fin = u64::from(state.fin_queued());
    let fin_unsent = u64::from(fin == 1 && unsent > 0);
    Observation {
        detail: Some(Detail {
            unsent: Some(unsent),
            acked: Some(1 + 100 + fin - queued),
            transmitted: Some(100 - (unsent - fin_unsent)),
            ..Detail::of(state)
        }),
        ..seen(queued)
    }
}

fn begin(policy: Policy) -> Ending {
    let (ending, step) = Ending::begin(&policy, &full(TcpState::Established, 40, 10));
    assert_eq!(step, Step::then(Action::SendFin));
    ending
}

#[test]
fn a_stall_is_measured_from_the_last_progress() {
    let mut ending = begin(Policy::wait(60 * SECOND).with_stall(4 * SECOND));
    assert_eq!(
        ending.observe(Duration::ZERO, &seen(41)).action,
        Action::Wait
    );
    assert_eq!(ending.deadline(), Some(SECOND));
    // Ten bytes are acknowledged, half a second before the look at 1 s.
    let mut progress = full(TcpState::FinWait1, 31, 5);
    if let Some(detail) = &mut progress.detail {
        detail.since_ack = SECOND / 2;
    }
    assert_eq!(ending.observe(SECOND, &progress).action, Action::Wait);
    for at in [2, 3, 4] {
        assert_eq!(
            ending
                .observe(at * SECOND, &full(TcpState::FinWait1, 31, 5))
                .action,
            Action::Wait
        );
    }
    assert_eq!(ending.deadline(), Some(SECOND / 2 + 4 * SECOND));
    let step = ending.observe(SECOND / 2 + 4 * SECOND, &full(TcpState::FinWait1, 31, 5));
    assert_eq!(step.action, Action::Freeze);
    let step = ending.observe(5 * SECOND, &full(TcpState::FinWait1, 31, 5));
    let report = step.report.unwrap();
    assert_eq!(report.fate, Fate::Stalled);
    assert_eq!(report.acked, Some(70));
    assert_eq!((report.lost, report.unsent), (Some(30), Some(4)));
}

#[test]
fn the_last_ack_just_before_the_freeze_is_a_delivery() {
    let mut ending = begin(Policy::wait(SECOND));
    assert_eq!(ending.observe(SECOND, &seen(1)).action, Action::Freeze);
    let step = ending.observe(SECOND, &full(TcpState::FinWait2, 0, 0));
    assert_eq!(step.action, Action::Close);
    assert_eq!(step.report.unwrap().fate, Fate::Delivered);
}

#[test]
fn who_closed_first_is_asked_of_the_state_when_it_is_close() {
    for (state, first) in [
        (TcpState::LastAck, Some(Side::Peer)),
        (TcpState::Closing, Some(Side::Local)),
        (TcpState::Closed, None),
    ] {
        let mut ending = begin(Policy::wait(SECOND));
        let eof = Observation {
            input: Some(Input {
                ended: true,
                ..Input::NONE
            }),
            ..seen(41)
        };
        assert_eq!(ending.observe(Duration::ZERO, &eof).action, Action::Look);
        let queued = if state == TcpState::Closed { 0 } else { 41 };
        let look = full(state, queued, 0);
        let step = ending.observe(Duration::ZERO, &look);
        let report = match step.report {
            Some(report) => report,
            None => ending.observe(Duration::ZERO, &seen(0)).report.unwrap(),
        };
        assert_eq!(report.fate, Fate::Delivered);
        assert_eq!(report.closed_first, first, "{state:?}");
    }
}

#[test]
fn an_epipe_is_the_peers_reset() {
    let mut ending = begin(Policy::wait(SECOND));
    let mut gone = full(TcpState::Closed, 41, 11);
    if let Some(detail) = &mut gone.detail {
        detail.error = Pending::Error(Errno::from_raw(code::EPIPE));
    }
    let report = ending.observe(Duration::ZERO, &gone).report.unwrap();
    assert_eq!(report.fate, Fate::Reset);
    assert_eq!(report.error, Some(Errno::ECONNRESET));
    assert_eq!((report.lost, report.unsent), (Some(40), Some(10)));
}

/// A connection of an accepting side whose program called shutdown(SHUT_RDWR), gone before
/// the close begins.
fn reset_before(input_trimmed: bool, data_segments_in: u32) -> Observation {
    let mut gone = full(TcpState::Closed, 41, 0);
    if let Some(detail) = &mut gone.detail {
        detail.error = Pending::Error(Errno::ECONNRESET);
        detail.read_shut = None;
        detail.input_trimmed = input_trimmed;
        detail.data_segments_in = Some(data_segments_in);
    }
    gone
}

/// What a filter kept out is not counted, and the peer's FIN behind it makes this host
/// reset the connection.
#[test]
fn of_input_that_a_filter_kept_out_nothing_is_reported() {
    let told = Policy::wait(SECOND).with_shut_down(std::net::Shutdown::Both);
    for policy in [told, Policy::wait(SECOND)] {
        let report = Ending::begin(&policy, &reset_before(true, 0)).1.report;
        let report = report.expect("it is gone");
        assert_eq!(report.fate, Fate::Failed);
        assert_eq!(report.error, Some(Errno::ECONNRESET));
        assert_eq!((report.unread, report.rst_sent), (None, None));
    }
    let report = Ending::begin(&told, &reset_before(false, 0)).1.report;
    let report = report.expect("it is gone");
    assert_eq!((report.fate, report.rst_sent), (Fate::Reset, Some(false)));
    assert_eq!(report.unread, Some(0));
}

/// An abort of a connection that is gone sends nothing; whether its end did is another
/// question.
#[test]
fn an_abort_does_not_deny_an_rst_that_may_be_ours() {
    let policy = Policy::abort().with_shut_down(std::net::Shutdown::Both);
    let rst = |policy: &Policy, gone: &Observation| {
        let (mut ending, step) = Ending::begin(policy, gone);
        assert_eq!(step.action, Action::Freeze);
        let report = ending.observe(Duration::ZERO, gone).report;
        let report = report.expect("an abort reports at once");
        assert_eq!(report.fate, Fate::Aborted);
        report.rst_sent
    };
    assert_eq!(rst(&policy, &reset_before(false, 1)), None);
    assert_eq!(rst(&policy, &reset_before(true, 0)), None);
    assert_eq!(rst(&policy, &reset_before(false, 0)), Some(false));
    assert_eq!(
        rst(&Policy::abort(), &full(TcpState::Closed, 0, 0)),
        Some(false)
    );
    // The program has taken the error, and with it the reason.
    assert_eq!(rst(&Policy::abort(), &full(TcpState::Closed, 40, 0)), None);
}

#[test]
fn without_time_wait_a_delivered_connection_is_reset() {
    let mut ending = begin(Policy::wait(SECOND).with_time_wait(false));
    assert_eq!(
        ending.observe(Duration::ZERO, &seen(0)).action,
        Action::Freeze
    );
    let step = ending.observe(Duration::ZERO, &full(TcpState::FinWait2, 0, 0));
    assert_eq!(step.action, Action::Abort);
    let report = step.report.unwrap();
    assert_eq!(report.fate, Fate::Delivered);
    assert_eq!(report.rst_sent, Some(true));
}

/// Neither a deadline nor a stall time was set, and the SYN is never answered.
#[test]
fn a_background_close_of_an_unanswered_syn_has_a_bound() {
    let mut syn = full(TcpState::SynSent, 100, 0);
    if let Some(detail) = &mut syn.detail {
        detail.acked = Some(0);
        detail.connected = Some(false);
    }
    let (mut ending, step) = Ending::begin(&Policy::off(), &syn);
    assert_eq!(step, Step::then(Action::Wait));
    let mut at = Duration::ZERO;
    while ending.observe(at, &syn).action == Action::Wait {
        at = ending.deadline().expect("it has a bound");
    }
    assert_eq!(at, Ending::OFF_PATIENCE);
    let report = ending.observe(at, &syn).report.expect("it was frozen");
    assert_eq!((report.fate, report.lost), (Fate::Stalled, Some(100)));
    assert_eq!(report.rst_sent, Some(false));
}

/// A system that does not count: Windows.
fn uncounted(state: TcpState) -> Observation {
    Observation {
        queued: Err(NoCount::Uncounted),
        input: Some(Input::NONE),
        detail: Some(Detail {
            unsent: None,
            acked: None,
            transmitted: None,
            data_segments_in: None,
            ..Detail::of(state)
        }),
    }
}

#[test]
fn where_nothing_is_counted_no_stall_shows_and_no_count_is_reported() {
    let policy = Policy::wait(60 * SECOND).with_stall(SECOND);
    let (mut ending, step) = Ending::begin(&policy, &uncounted(TcpState::Established));
    assert_eq!(step, Step::then(Action::SendFin));
    for at in [0, 1, 2, 30, 59] {
        let step = ending.observe(at * SECOND, &uncounted(TcpState::FinWait1));
        assert_eq!(step, Step::then(Action::Wait), "{at}");
        assert!(ending.deadline().is_some_and(|due| due > at * SECOND));
    }
    let step = ending.observe(60 * SECOND, &uncounted(TcpState::FinWait1));
    assert_eq!(step.action, Action::Freeze);
    ending.freeze_refused();
    let report = ending
        .observe(60 * SECOND, &uncounted(TcpState::FinWait1))
        .report
        .expect("its time is over");
    assert_eq!(report.fate, Fate::TimedOut);
    assert_eq!(
        (report.acked, report.lost, report.unsent),
        (None, None, None)
    );
    assert_eq!(report.rst_sent, Some(true));
    assert_eq!(report.closed_first, Some(Side::Local));
}

#[test]
fn where_nothing_is_counted_a_background_close_is_left_to_the_kernel_or_goes_on() {
    let begin = || Ending::begin(&Policy::off(), &uncounted(TcpState::Established)).0;
    let late = Ending::OFF_PATIENCE;
    let mut ending = begin();
    let report = ending.observe(late, &uncounted(TcpState::FinWait1)).report;
    let report = report.expect("its time is over");
    assert_eq!((report.fate, report.lost), (Fate::Detached, None));
    // With input left in the receive queue a plain close would reset it.
    let mut ending = begin();
    let mut unread = uncounted(TcpState::FinWait1);
    if let Some(input) = &mut unread.input {
        input.left = Some(1);
    }
    let step = ending.observe(late, &unread);
    assert_eq!(step, Step::then(Action::Wait));
    assert!(ending.deadline().is_some_and(|due| due > late));
}

fn taking(drained: u64, seen: Observation) -> Observation {
    let input = Input {
        drained,
        ..Input::NONE
    };
    Observation {
        input: Some(input),
        ..seen
    }
}

#[test]
fn late_input_is_discarded_up_to_the_bound_and_counted() {
    let mut ending = begin(Policy::wait(SECOND).with_drain_bytes(10));
    assert_eq!((ending.drain_allowance(), ending.is_quiet()), (10, true));
    let look = taking(4, full(TcpState::FinWait1, 41, 11));
    assert_eq!(ending.observe(Duration::ZERO, &look).action, Action::Wait);
    assert_eq!((ending.drain_allowance(), ending.is_quiet()), (6, false));
    assert!(!ending.is_holding());
    let step = ending.observe(SECOND / 2, &taking(6, full(TcpState::FinWait2, 0, 0)));
    let report = step.report.expect("all is acknowledged");
    assert_eq!((report.fate, report.lost), (Fate::Delivered, Some(0)));
    assert_eq!((report.unread, report.rst_sent), (Some(10), Some(false)));
    // The peer has been sending: it is held for ten seconds, until its FIN.
    assert_eq!(step.action, Action::Wait);
    assert!(ending.is_holding() && !ending.is_gone());
    assert_eq!(ending.deadline(), Some(SECOND / 2 + 10 * SECOND));
    let step = ending.observe(SECOND, &full(TcpState::TimeWait, 0, 0));
    assert_eq!(step, Step::then(Action::Close));
    assert_eq!((ending.drain_allowance(), ending.deadline()), (0, None));
    assert!(!ending.is_holding());
}

#[test]
fn a_caller_with_no_more_time_brings_the_deadline_forward_and_never_back() {
    let mut ending = begin(Policy::wait(60 * SECOND));
    let busy = full(TcpState::FinWait1, 41, 11);
    assert_eq!(ending.observe(Duration::ZERO, &busy).action, Action::Wait);
    ending.cut_short(SECOND);
    ending.cut_short(30 * SECOND);
    assert_eq!(ending.deadline(), Some(SECOND));
    assert_eq!(ending.observe(SECOND, &busy).action, Action::Freeze);
    assert_eq!(ending.deadline(), Some(Duration::ZERO));
    let report = ending.observe(SECOND, &busy).report.expect("it is frozen");
    assert_eq!((report.fate, report.lost), (Fate::TimedOut, Some(40)));
    assert_eq!(report.error, Some(Errno::EWOULDBLOCK));
}

#[test]
fn a_stall_time_is_looked_at_four_times() {
    let ending = begin(Policy::wait(60 * SECOND).with_stall(8 * SECOND));
    assert_eq!(ending.deadline(), Some(2 * SECOND));
}

#[test]
fn a_kernel_that_refuses_the_fin_is_left_to_its_own_close() {
    let mut ending = begin(Policy::wait(SECOND));
    let error = Errno::from_raw(code::ETIMEDOUT);
    ending.fin_refused(error);
    let step = ending.observe(Duration::ZERO, &seen(40));
    assert_eq!(step, Step::then(Action::Look), "the state decides");
    let step = ending.observe(Duration::ZERO, &full(TcpState::Established, 40, 10));
    assert_eq!(step.action, Action::Close);
    let report = step.report.expect("it is over");
    assert_eq!((report.fate, report.error), (Fate::Detached, Some(error)));
    assert_eq!((report.acked, report.lost), (None, None));
}

/// An acknowledgement may come between the look and the RST: then only nothing lost is sure.
#[test]
fn what_may_move_until_the_rst_is_not_counted() {
    let mut ending = begin(Policy::wait(SECOND));
    assert_eq!(ending.observe(SECOND, &seen(41)).action, Action::Freeze);
    ending.freeze_refused();
    let step = ending.observe(SECOND, &full(TcpState::FinWait1, 41, 11));
    let report = step.report.expect("its time is over");
    assert_eq!(report.fate, Fate::TimedOut);
    assert_eq!(
        (report.acked, report.lost, report.unsent),
        (None, None, None)
    );
    assert_eq!((report.unread, report.rst_sent), (Some(0), Some(true)));
}

#[test]
fn a_detached_connection_has_lost_nothing_or_it_is_unknown() {
    let ending = begin(Policy::wait(SECOND));
    let mut sent = ending.clone();
    let busy = full(TcpState::FinWait1, 41, 11);
    assert_eq!(sent.observe(Duration::ZERO, &busy).action, Action::Wait);
    let report = sent.detached(SECOND, &busy);
    assert_eq!((report.fate, report.elapsed), (Fate::Detached, SECOND));
    assert_eq!((report.acked, report.unsent), (Some(60), Some(10)));
    assert_eq!((report.lost, report.rst_sent), (None, Some(false)));
    // Only the FIN is not acknowledged.
    let report = sent.detached(SECOND, &full(TcpState::FinWait1, 1, 0));
    assert_eq!((report.acked, report.lost), (Some(100), Some(0)));
}

/// A gone connection with this error; 40 bytes and the FIN are not acknowledged.
fn gone_with(error: i32, peer_fin: PeerFin) -> Report {
    let mut ending = begin(Policy::wait(SECOND));
    let mut gone = full(TcpState::Closed, 41, 11);
    if let Some(detail) = &mut gone.detail {
        detail.error = Pending::Error(Errno::from_raw(error));
        detail.peer_fin = peer_fin;
    }
    let report = ending.observe(Duration::ZERO, &gone).report;
    assert!(ending.is_gone());
    report.expect("it is gone")
}

/// `tcp_abort` sends an RST unless both sides have closed; a peer that stays silent is sent
/// none (`tcp_write_err`).
#[test]
fn an_error_of_the_kernels_own_is_a_failure_with_its_own_rst() {
    for (error, peer_fin, rst) in [
        (code::ENDED_BY_ADMINISTRATOR, PeerFin::Missing, Some(true)),
        (code::ENDED_BY_ADMINISTRATOR, PeerFin::Came, Some(false)),
        (code::ENDED_BY_ADMINISTRATOR, PeerFin::Unknown, None),
        (code::ETIMEDOUT, PeerFin::Missing, Some(false)),
        (code::EHOSTUNREACH, PeerFin::Missing, Some(false)),
        (code::ENETUNREACH, PeerFin::Missing, Some(false)),
        (code::ECONNREFUSED, PeerFin::Unknown, Some(false)),
    ] {
        let report = gone_with(error, peer_fin);
        assert_eq!(report.fate, Fate::Failed, "{error} {peer_fin:?}");
        assert_eq!(report.error, Some(Errno::from_raw(error)));
        assert_eq!(report.rst_sent, rst, "{error} {peer_fin:?}");
        assert_eq!((report.lost, report.unsent), (Some(40), Some(10)));
    }
}

/// The contract's D4 and D9.
#[test]
fn a_confirmed_wait_ends_with_the_peers_fin_or_its_time_or_a_keepalive() {
    let awaiting = || {
        let mut ending = begin(Policy::wait(2 * SECOND).with_confirm(true));
        let acked = full(TcpState::FinWait2, 0, 0);
        assert_eq!(ending.observe(SECOND, &acked), Step::then(Action::Wait));
        assert_eq!(ending.deadline(), Some(2 * SECOND));
        ending
    };
    let step = awaiting().observe(SECOND, &full(TcpState::TimeWait, 0, 0));
    let report = step.report.expect("both have closed");
    assert_eq!((report.fate, report.error), (Fate::Confirmed, None));
    assert_eq!(report.acked, Some(100));
    let step = awaiting().observe(2 * SECOND, &full(TcpState::FinWait2, 0, 0));
    let report = step.report.expect("its time is over");
    assert_eq!(report.fate, Fate::TimedOut);
    assert_eq!(report.error, Some(Errno::EWOULDBLOCK));
    assert_eq!((report.lost, report.rst_sent), (Some(0), Some(false)));
    // A keepalive that nobody answers sends an RST (`tcp_keepalive_timer`).
    let mut dead = full(TcpState::Closed, 0, 0);
    if let Some(detail) = &mut dead.detail {
        detail.error = Pending::Error(Errno::ETIMEDOUT);
        detail.peer_fin = PeerFin::Missing;
    }
    let report = awaiting().observe(SECOND, &dead).report.expect("gone");
    assert_eq!(report.fate, Fate::Failed);
    assert_eq!(report.error, Some(Errno::ETIMEDOUT));
    assert_eq!(report.rst_sent, Some(true));
}

/// RFC 9293, figure 5.
#[test]
fn a_state_that_one_fin_leads_to_names_its_sender() {
    use TcpState::*;
    let first = |state| observation::closed_first(state);
    for state in [FinWait1, FinWait2, Closing, TimeWait] {
        assert_eq!(first(state), Some(Side::Local), "{state}");
    }
    for state in [CloseWait, LastAck] {
        assert_eq!(first(state), Some(Side::Peer), "{state}");
    }
    for state in [
        SynSent,
        SynReceived,
        NewSynReceived,
        Established,
        Closed,
        Listen,
    ] {
        assert_eq!(first(state), None, "{state}");
    }
}
