//! Whole lives, step by step as the kernel reports them, and all that is to be known of
//! how each ended.

use std::time::Duration;

use lastbyte::{Errno, Fate, Side};

use super::life::{Life, MS, a_socket, answer, only};
use crate::ending::{Bytes, Ending, Evidence, Rst, StateTimes};
use crate::parse::inet_diag::Socket;
use crate::parse::trace::Event;
use crate::reason::Reason;
use crate::tracker::Tracker;
use crate::tuple::Role;
use crate::tuple::State::{self, *};

const PID: u32 = 812;

/// What the kernel reports of one life.
struct Play {
    tracker: Tracker,
    life: Life,
    socket: Socket,
}

impl Play {
    fn new() -> Self {
        let life = Life::new(1);
        Self {
            tracker: Tracker::new(true),
            socket: Socket {
                tuple: life.tuple(),
                cookie: life.cookie(),
                rqueue: 0,
                ..a_socket()
            },
            life,
        }
    }

    /// It accepted: no SYN of ours is among the 100 bytes and the FIN.
    fn accepted() -> Self {
        let mut play = Self::new();
        if let Some(counts) = play
            .socket
            .info
            .as_mut()
            .and_then(|info| info.counts.as_mut())
        {
            counts.acked -= 1;
        }
        play.step(0, false, SynReceived, Established);
        play
    }

    fn connected() -> Self {
        let mut play = Self::new();
        play.step(0, true, Closed, SynSent);
        play.step(0, false, SynSent, Established);
        play
    }

    fn step(&mut self, ms: u64, in_process: bool, old: State, new: State) {
        let step = Event::SetState {
            sk: self.life.sk,
            tuple: self.life.tuple(),
            old,
            new,
        };
        self.event(ms, in_process, step);
    }

    fn event(&mut self, ms: u64, in_process: bool, event: Event) {
        self.life.event(&mut self.tracker, ms, in_process, event);
    }

    /// An RST of ours.
    fn resets(&mut self, ms: u64, in_process: bool, reason: Reason, answers: bool) {
        let reset = Event::SendReset {
            sk: self.life.sk,
            tuple: self.life.tuple(),
            reason: Some(reason),
            answers,
        };
        self.event(ms, in_process, reset);
    }

    fn is_reset(&mut self, ms: u64) {
        let sk = self.life.sk;
        let cookie = self.life.cookie();
        self.event(ms, false, Event::ReceiveReset { sk, cookie });
    }

    /// The socket is destroyed, its notice comes, and what the kernel holds then.
    fn ends(mut self, ms: u64, in_process: bool, held: Option<State>) -> Ending {
        match in_process {
            true => self.life.is_let_go(&mut self.tracker, ms),
            false => self.life.is_destroyed(&mut self.tracker, ms),
        }
        let at = self.life.at + (ms + 1) * MS;
        self.tracker.destroy_notice(at, &self.socket);
        answer(&mut self.tracker, at + MS, held);
        only(&mut self.tracker)
    }
}

fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

fn ours(reason: Reason) -> Option<Rst> {
    Some(Rst::By {
        side: Side::Local,
        reason: Some(reason),
        listener: false,
    })
}

#[test]
fn a_client_that_closes_first() {
    let mut play = Play::connected();
    play.step(10, true, Established, FinWait1);
    play.step(20, false, FinWait1, FinWait2);
    play.step(30, false, FinWait2, Closed);
    let ending = play.ends(30, false, Some(TimeWait));
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.closed_first, Some(Side::Local));
    assert_eq!(ending.rst, Some(Rst::None));
    assert_eq!(ending.evidence, Evidence::Observed);
    assert_eq!(ending.closer.map(|process| process.pid), Some(PID));
    assert_eq!(ending.owner.map(|process| process.pid), Some(PID));
    assert_eq!(ending.manner.role, Some(Role::Connected));
    assert_eq!(ending.manner.peer_closed, Some(false));
    assert_eq!(ending.bytes.acked, Some(100));
    assert_eq!(ending.bytes.sent, Some(100));
    // It went on in a smaller socket, for how long nobody knows.
    let times = StateTimes {
        fin_wait1: ms(10),
        ..StateTimes::default()
    };
    assert_eq!(ending.states, Some(times));
}

#[test]
fn a_server_whose_client_closes_first() {
    let mut play = Play::accepted();
    play.step(10, false, Established, CloseWait);
    play.step(25, true, CloseWait, LastAck);
    play.step(30, false, LastAck, Closed);
    let ending = play.ends(30, false, None);
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.closed_first, Some(Side::Peer));
    assert_eq!(ending.closer.map(|process| process.pid), Some(PID));
    assert_eq!(ending.manner.role, Some(Role::Accepted));
    assert_eq!(ending.manner.peer_closed, Some(true));
    let bytes = Bytes {
        sent: Some(100),
        acked: Some(100),
        received: Some(0),
        lost: Some(0),
        unread: Some(0),
    };
    assert_eq!(ending.bytes, bytes);
    let times = StateTimes {
        close_wait: ms(15),
        last_ack: ms(5),
        ..StateTimes::default()
    };
    assert_eq!(ending.states, Some(times));
}

#[test]
fn fins_that_cross_have_no_first() {
    let mut play = Play::connected();
    play.step(10, true, Established, FinWait1);
    play.step(12, false, FinWait1, Closing);
    play.step(20, false, Closing, Closed);
    let ending = play.ends(20, false, Some(TimeWait));
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.closed_first, None);
    assert_eq!(ending.states.and_then(|times| times.closing), ms(8));
    assert_eq!(ending.states.and_then(|times| times.fin_wait1), ms(2));
}

#[test]
fn a_shut_down_connection_that_is_held_spends_its_time_in_fin_wait2() {
    let mut play = Play::connected();
    play.step(10, true, Established, FinWait1);
    play.step(20, false, FinWait1, FinWait2);
    play.step(70, false, FinWait2, Closed);
    let ending = play.ends(90, true, None);
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.states.and_then(|times| times.fin_wait2), ms(50));
    assert_eq!(ending.manner.held, Some(true));
}

#[test]
fn what_the_first_step_that_is_heard_shows_of_who_closed_first() {
    let first = |old, new| {
        let mut play = Play::new();
        play.step(10, false, old, new);
        if new != Closed {
            play.step(20, false, new, Closed);
        }
        play.ends(20, false, Some(TimeWait)).closed_first
    };
    assert_eq!(first(CloseWait, LastAck), Some(Side::Peer));
    assert_eq!(first(LastAck, Closed), Some(Side::Peer));
    assert_eq!(first(FinWait1, FinWait2), Some(Side::Local));
    assert_eq!(first(FinWait2, Closed), Some(Side::Local));
    assert_eq!(first(Closing, Closed), None);
}

/// The FINs crossed before an RST came: neither was first, nor the RST.
#[test]
fn an_rst_after_fins_that_crossed_is_not_what_closed_first() {
    let mut play = Play::new();
    // Our FIN is not acknowledged.
    play.socket.wqueue = 1;
    play.is_reset(20);
    play.step(20, false, Closing, Closed);
    let ending = play.ends(20, false, None);
    assert_eq!(ending.fate, Some(Fate::Reset));
    assert_eq!(ending.closed_first, None);
}

#[test]
fn when_and_by_whom_a_connection_was_opened() {
    let opened = |old: State| {
        let mut play = Play::new();
        play.step(3, false, old, Established);
        play.step(10, true, Established, FinWait1);
        play.step(20, false, FinWait1, Closed);
        play.life.is_destroyed(&mut play.tracker, 20);
        play.tracker
            .destroy_notice(play.life.at + 21 * MS, &play.socket);
        let finished = play.tracker.take().pop().expect("it has ended");
        let after = finished.opened.map(|at| at - play.life.at);
        (after, finished.ending.manner.role)
    };
    assert_eq!(opened(SynSent), (Some(3 * MS), Some(Role::Connected)));
    assert_eq!(opened(SynReceived), (Some(3 * MS), Some(Role::Accepted)));
}

#[test]
fn an_abort_by_close_had_nothing_unread_and_a_disconnect_may_have() {
    let aborted = |destroyed: u64| {
        let mut play = Play::connected();
        play.step(10, true, Established, Closed);
        play.resets(10, true, Reason::STATE, false);
        play.socket.tuple.remote = crate::tuple::Endpoint::UNKNOWN;
        let ending = play.ends(destroyed, true, None);
        assert_eq!(ending.fate, Some(Fate::Aborted));
        assert_eq!(ending.rst, ours(Reason::STATE));
        assert_eq!(ending.closer.map(|process| process.pid), Some(PID));
        ending.bytes.unread
    };
    assert_eq!(aborted(11), Some(0));
    assert_eq!(aborted(1009), Some(0));
    // The descriptor went later: the call that ended the connection was no close.
    assert_eq!(aborted(1010), None);
    assert_eq!(aborted(3000), None);
}

#[test]
fn whoever_destroys_a_connection_from_outside_is_its_closer() {
    let mut play = Play::connected();
    play.resets(10, true, Reason::STATE, false);
    play.step(10, true, Established, Closed);
    let tuple = play.life.tuple();
    play.event(10, true, Event::Error { tuple, errno: 103 });
    let ending = play.ends(20, false, None);
    assert_eq!(ending.fate, Some(Fate::Failed));
    assert_eq!(ending.error, Some(Errno::from_raw(103)));
    assert_eq!(
        ending.rst.and_then(Rst::words),
        Some(Reason::DESTROYED.words())
    );
    assert_eq!(ending.closer.map(|process| process.pid), Some(PID));
}

#[test]
fn a_process_that_meets_the_peers_rst_has_not_closed() {
    let mut play = Play::connected();
    play.is_reset(10);
    play.step(10, true, Established, Closed);
    let ending = play.ends(20, true, None);
    assert_eq!(ending.fate, Some(Fate::Reset));
    assert_eq!(ending.rst.map(Rst::by), Some("peer"));
    assert_eq!(ending.closed_first, Some(Side::Peer));
    assert_eq!(ending.closer, None);
}

#[test]
fn a_simultaneous_open_is_the_connection_that_connected() {
    let mut play = Play::new();
    play.step(0, true, Closed, SynSent);
    play.step(1, false, SynReceived, Established);
    play.step(10, false, Established, CloseWait);
    play.step(20, true, CloseWait, LastAck);
    play.step(30, false, LastAck, Closed);
    let ending = play.ends(30, false, None);
    assert_eq!(ending.manner.role, Some(Role::Connected));
    assert_eq!(ending.evidence, Evidence::Observed);
}

#[test]
fn an_address_in_the_kernel_that_opens_again_is_another_connection() {
    let mut play = Play::connected();
    // The end of the first was missed.
    play.step(50, false, SynReceived, Established);
    play.step(60, false, Established, CloseWait);
    play.step(70, true, CloseWait, LastAck);
    play.step(80, false, LastAck, Closed);
    let ending = play.ends(80, false, None);
    assert_eq!(ending.manner.role, Some(Role::Accepted));
    assert_eq!(ending.states.and_then(|times| times.close_wait), ms(10));
}

#[test]
fn a_subflow_has_what_was_acknowledged_and_received_and_no_more() {
    let mut play = Play::connected();
    let tuple = play.life.tuple();
    play.event(5, true, Event::Mptcp { tuple });
    play.step(10, true, Established, FinWait1);
    play.step(20, false, FinWait1, FinWait2);
    play.step(30, false, FinWait2, Closed);
    let ending = play.ends(30, false, Some(TimeWait));
    assert_eq!(ending.mptcp, Some(true));
    assert_eq!(ending.closer, None);
    assert_eq!(ending.bytes.acked, Some(100));
    assert!(ending.bytes.received.is_some());
    let Bytes {
        sent, lost, unread, ..
    } = ending.bytes;
    assert_eq!((sent, lost, unread), (None, None, None));
}

#[test]
fn what_is_lost_is_what_was_queued_without_the_fin() {
    // (state left, bytes of the queue that are the FIN)
    for (end, fin) in [
        (Established, 0),
        (FinWait1, 1),
        (LastAck, 1),
        (CloseWait, 0),
    ] {
        let mut play = Play::accepted();
        if let Some(counts) = play
            .socket
            .info
            .as_mut()
            .and_then(|info| info.counts.as_mut())
        {
            counts.acked = 60;
        }
        play.socket.wqueue = 40 + fin;
        match end {
            FinWait1 => play.step(5, true, Established, FinWait1),
            CloseWait => play.step(5, false, Established, CloseWait),
            LastAck => {
                play.step(5, false, Established, CloseWait);
                play.step(6, true, CloseWait, LastAck);
            }
            _ => {}
        }
        play.is_reset(10);
        play.step(10, false, end, Closed);
        let ending = play.ends(10, false, None);
        assert_eq!(ending.fate, Some(Fate::Reset), "{end}");
        let Bytes {
            sent, acked, lost, ..
        } = ending.bytes;
        assert_eq!(
            (sent, acked, lost),
            (Some(100), Some(60), Some(40)),
            "{end}"
        );
    }
}

#[test]
fn a_timer_that_gives_up_fails_with_its_error_and_has_no_closer() {
    let gave_up = |errno: Option<i32>| {
        let mut play = Play::connected();
        play.socket.wqueue = 100;
        let tuple = play.life.tuple();
        if let Some(errno) = errno {
            play.event(10, false, Event::Error { tuple, errno });
        }
        play.step(10, false, Established, Closed);
        let ending = play.ends(20, true, None);
        assert_eq!(ending.fate, Some(Fate::Failed));
        assert_eq!(ending.rst, Some(Rst::None));
        assert_eq!((ending.closer, ending.closed_first), (None, None));
        ending.error
    };
    assert_eq!(gave_up(Some(110)), Some(Errno::from_raw(110)));
    assert_eq!(gave_up(None), None);
}

#[test]
fn an_rst_that_answers_a_segment_is_ours_though_the_kernel_calls_it_received() {
    let mut play = Play::connected();
    play.step(10, true, Established, FinWait1);
    play.is_reset(20);
    play.step(20, false, FinWait1, Closed);
    play.resets(20, false, Reason::ABORT_ON_DATA, true);
    let ending = play.ends(20, false, None);
    assert_eq!(ending.fate, Some(Fate::Aborted));
    assert_eq!(ending.rst, ours(Reason::ABORT_ON_DATA));
    // What arrived was discarded uncounted.
    assert_eq!(ending.bytes.unread, None);
    assert_eq!(ending.closed_first, Some(Side::Local));
}
