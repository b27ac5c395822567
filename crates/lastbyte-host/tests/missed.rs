//! What the joiner tells when steps were missed or a table was full: what is not
//! known is null and inferred, and nothing is wrong.

use std::net::Ipv4Addr;

use lastbyte::{Fate, Side};
use lastbyte_host::event::{Ending, Evidence, Rst};
use lastbyte_host::joiner::Joiner;
use lastbyte_host::parse::inet_diag::Socket;
use lastbyte_host::parse::netlink;
use lastbyte_host::parse::trace::{Event, Trace};
use lastbyte_host::process::{Comm, Process};
use lastbyte_host::reason::Reason;
use lastbyte_host::tuple::State::{self, *};
use lastbyte_host::tuple::{Endpoint, Tuple};

const MS: u64 = 1_000_000;

/// A connection: its socket in the kernel, and what becomes of it.
#[derive(Clone, Copy)]
struct Life {
    number: u32,
    sk: u64,
    /// When it is established.
    at: u64,
}

impl Life {
    fn new(number: u32) -> Self {
        Self {
            number,
            sk: 0x1000 + u64::from(number),
            at: u64::from(number) * MS,
        }
    }

    fn tuple(&self) -> Tuple {
        let ip = Ipv4Addr::from(0x0a00_0000 + self.number).into();
        Tuple {
            local: Endpoint::new(ip, 40_000),
            remote: Endpoint::new(Ipv4Addr::LOCALHOST.into(), 80),
        }
    }

    fn step(&self, joiner: &mut Joiner, ms: u64, old: State, new: State) {
        let in_process = matches!(
            (old, new),
            (_, SynSent | FinWait1 | LastAck) | (Established, Close)
        );
        self.event(
            joiner,
            ms,
            in_process,
            Event::SetState {
                sk: self.sk,
                tuple: self.tuple(),
                old,
                new,
            },
        );
    }

    fn event(&self, joiner: &mut Joiner, ms: u64, in_process: bool, event: Event) {
        let process = Process {
            pid: 812,
            comm: Comm::from_bytes(b"app"),
        };
        joiner.trace(self.at + ms * MS, &Trace { event, in_process }, process);
    }

    fn opens(&self, joiner: &mut Joiner) {
        self.step(joiner, 0, Close, SynSent);
        self.step(joiner, 0, SynSent, Established);
    }

    /// Our close, its ACK, and the end, seen from an orphan.
    fn closes_first(&self, joiner: &mut Joiner) {
        self.step(joiner, 10, Established, FinWait1);
        self.step(joiner, 20, FinWait1, FinWait2);
        self.step(joiner, 30, FinWait2, Close);
        self.is_destroyed(joiner, 30);
    }

    /// A close with input unread.
    fn aborts(&self, joiner: &mut Joiner, ms: u64) {
        let reset = Event::SendReset {
            sk: self.sk,
            tuple: self.tuple(),
            reason: Some(Reason::ABORT_ON_CLOSE),
            answers: false,
        };
        self.event(joiner, ms, true, reset);
    }

    /// It closes first, the peer after it; what is told.
    fn ends_in_time_wait(&self, joiner: &mut Joiner) -> Ending {
        self.closes_first(joiner);
        self.obituary(joiner);
        answer(joiner, self.at + 40 * MS, Some(TimeWait));
        only(joiner)
    }

    fn is_destroyed(&self, joiner: &mut Joiner, ms: u64) {
        let destroy = Event::Destroy {
            sk: self.sk,
            cookie: self.cookie(),
        };
        self.event(joiner, ms, false, destroy);
    }

    fn cookie(&self) -> u64 {
        u64::from(self.number) + 1
    }

    fn obituary(&self, joiner: &mut Joiner) {
        let socket = Socket {
            tuple: self.tuple(),
            cookie: self.cookie(),
            rqueue: 0,
            ..a_socket()
        };
        joiner.obituary(self.at + 31 * MS, &socket);
    }

    /// An RST of ours, or of the peer's, which is on this host as well.
    fn reset(&self, joiner: &mut Joiner, ms: u64, by: Side, reason: Reason) {
        let tuple = match by {
            Side::Local => self.tuple(),
            Side::Peer => self.tuple().reversed(),
        };
        let event = Event::SendReset {
            sk: 0,
            tuple,
            reason: Some(reason),
            answers: true,
        };
        self.event(joiner, ms, false, event);
    }
}

/// It connected, sent 100 bytes and a FIN, all acknowledged.
fn a_socket() -> Socket {
    let bytes = include_bytes!("../fixtures/destroy_clean_client.bin");
    let message = netlink::messages(bytes).next().expect("one message");
    Socket::parse(message.payload).expect("an obituary")
}

/// One connection, established.
fn opened() -> (Joiner, Life) {
    let mut joiner = Joiner::new(true);
    let life = Life::new(1);
    life.opens(&mut joiner);
    (joiner, life)
}

fn only(joiner: &mut Joiner) -> Ending {
    let mut told = joiner.take();
    assert_eq!(told.len(), 1);
    told.remove(0).ending
}

/// The kernel's answers to all that is asked; all up to then is joined. FIN_WAIT2
/// is held until a moment, all else for a minute.
fn answer(joiner: &mut Joiner, now: u64, state: Option<State>) {
    asked(joiner, now, state);
    joiner.tick(now);
}

fn asked(joiner: &mut Joiner, now: u64, state: Option<State>) {
    const LET_GO: u64 = 5_020 * MS;
    for tuple in joiner.queries(now, usize::MAX) {
        let expires = match state {
            Some(FinWait2) => LET_GO.saturating_sub(now) / MS,
            _ => 60_000,
        };
        let socket = state.map(|state| Socket {
            state,
            expires_ms: expires as u32,
            ..a_socket()
        });
        joiner.answer(now, tuple, socket.as_ref());
    }
}

#[test]
fn what_was_seen_whole_is_observed() {
    let (mut joiner, life) = opened();
    let ending = life.ends_in_time_wait(&mut joiner);
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.rst, Some(Rst::None));
    assert_eq!(ending.closed_first, Some(Side::Local));
    assert_eq!(ending.closer.map(|process| process.pid), Some(812));
    assert_eq!(ending.evidence, Evidence::Observed);
}

#[test]
fn delivered_is_observed_only_where_the_peer_is_known_not_to_have_closed() {
    let told = |answers: &[(u64, Option<State>)]| {
        let (mut joiner, life) = opened();
        life.closes_first(&mut joiner);
        life.obituary(&mut joiner);
        for (ms, state) in answers {
            answer(&mut joiner, ms * MS, *state);
        }
        let ending = only(&mut joiner);
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
    assert_eq!(told(&[waiting, (5_040, Some(SynRecv))]), Evidence::Inferred);
    assert_eq!(told(&[waiting, (70_000, None)]), Evidence::Inferred);
    // It waited until the kernel forgot it.
    assert_eq!(told(&[waiting, (5_040, None)]), Evidence::Observed);
}

#[test]
fn an_rst_that_ended_the_wait_for_the_peer_is_told_though_the_look_up_was_faster() {
    let told = |by: Side, reason: Reason, faster: bool| {
        let (mut joiner, life) = opened();
        life.closes_first(&mut joiner);
        life.obituary(&mut joiner);
        answer(&mut joiner, 40 * MS, Some(FinWait2));
        if faster {
            asked(&mut joiner, 95 * MS, None);
            // Joined is what happened before the look-up, and not all of it.
            joiner.tick(94 * MS);
            assert!(joiner.take().is_empty());
        }
        life.reset(&mut joiner, 93, by, reason);
        if !faster {
            asked(&mut joiner, 95 * MS, None);
        }
        joiner.tick(95 * MS);
        let ending = only(&mut joiner);
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
        let (mut joiner, life) = opened();
        life.closes_first(&mut joiner);
        life.obituary(&mut joiner);
        for (ms, state) in answers {
            answer(&mut joiner, ms * MS, *state);
        }
        // Long after, the peer's end meets an RST of its own making.
        life.reset(&mut joiner, 9_000, Side::Peer, Reason::ABORT_ON_CLOSE);
        only(&mut joiner).rst
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
    let mut joiner = Joiner::new(true);
    for number in [1, 2] {
        let life = Life {
            number: 1,
            ..Life::new(number)
        };
        life.opens(&mut joiner);
        life.closes_first(&mut joiner);
        life.obituary(&mut joiner);
    }
    let ending = only(&mut joiner);
    assert_eq!(ending.fate, Some(Fate::Delivered));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn when_too_many_wait_to_be_asked_the_rest_is_inferred() {
    let mut joiner = Joiner::new(true);
    for number in 1.. {
        let life = Life::new(number);
        life.opens(&mut joiner);
        life.closes_first(&mut joiner);
        life.obituary(&mut joiner);
        if let Some(told) = joiner.take().pop() {
            assert_eq!(told.ending.fate, Some(Fate::Delivered));
            assert_eq!(told.ending.evidence, Evidence::Inferred);
            assert_eq!(joiner.waiting(), number as usize - 1);
            assert_eq!(joiner.counts().unasked, 1);
            return;
        }
    }
}

#[test]
fn after_a_gap_no_rst_is_unknown_and_not_none() {
    let (mut joiner, life) = opened();
    // The peer's RST is among what was dropped; a system call of ours met it.
    joiner.missed(life.at + 5 * MS, life.at + 6 * MS);
    life.step(&mut joiner, 10, Established, Close);
    life.is_destroyed(&mut joiner, 10);
    life.obituary(&mut joiner);
    let ending = only(&mut joiner);
    assert_eq!((ending.fate, ending.rst), (None, None));
    assert_eq!((ending.closed_first, ending.closer), (None, None));
    assert_eq!(ending.bytes.unread, None);
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn a_peers_rst_after_a_gap_may_have_been_provoked_by_ours() {
    let (mut joiner, life) = opened();
    life.step(&mut joiner, 10, Established, FinWait1);
    let got = Event::ReceiveReset {
        sk: life.sk,
        cookie: life.cookie(),
    };
    life.event(&mut joiner, 20, false, got);
    life.step(&mut joiner, 20, FinWait1, Close);
    joiner.missed(life.at + 20 * MS, life.at + 21 * MS);
    life.is_destroyed(&mut joiner, 20);
    life.obituary(&mut joiner);
    let ending = only(&mut joiner);
    assert_eq!((ending.fate, ending.rst), (None, None));
    // That our FIN came before any RST is certain.
    assert_eq!(ending.closed_first, Some(Side::Local));
    assert_eq!(ending.closer.map(|process| process.pid), Some(812));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn our_own_rst_is_told_though_a_gap_was_near() {
    let (mut joiner, life) = opened();
    joiner.missed(life.at + 5 * MS, life.at + 6 * MS);
    life.step(&mut joiner, 10, Established, Close);
    life.aborts(&mut joiner, 10);
    life.is_destroyed(&mut joiner, 10);
    life.obituary(&mut joiner);
    let ending = only(&mut joiner);
    assert_eq!(ending.fate, Some(Fate::Aborted));
    assert_eq!(ending.rst.map(Rst::by), Some("local"));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn after_a_gap_time_wait_still_shows_that_the_peer_closed() {
    let (mut joiner, life) = opened();
    joiner.missed(life.at + 25 * MS, life.at + 26 * MS);
    let ending = life.ends_in_time_wait(&mut joiner);
    assert_eq!(ending.fate, Some(Fate::Confirmed));
    assert_eq!(ending.rst, Some(Rst::None));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn a_gap_while_the_peer_is_waited_for_may_hide_a_late_rst() {
    let (mut joiner, life) = opened();
    life.closes_first(&mut joiner);
    life.obituary(&mut joiner);
    answer(&mut joiner, 40 * MS, Some(FinWait2));
    joiner.missed(1_000 * MS, 1_001 * MS);
    answer(&mut joiner, 5_040 * MS, None);
    let ending = only(&mut joiner);
    assert_eq!((ending.fate, ending.rst), (Some(Fate::Delivered), None));
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn a_gap_long_before_the_end_is_of_no_matter() {
    let (mut joiner, life) = opened();
    joiner.missed(life.at + 5 * MS, life.at + 6 * MS);
    let ending = life.ends_in_time_wait(&mut joiner);
    assert_eq!(ending.evidence, Evidence::Observed);
}

#[test]
fn a_missing_step_leaves_no_wrong_time() {
    let (mut joiner, life) = opened();
    // Our close was dropped: FIN_WAIT1 did not begin when it was established.
    joiner.missed(life.at + 10 * MS, life.at + 10 * MS);
    life.step(&mut joiner, 20, FinWait1, FinWait2);
    life.step(&mut joiner, 30, FinWait2, Close);
    life.is_destroyed(&mut joiner, 30);
    life.obituary(&mut joiner);
    answer(&mut joiner, 40 * MS, Some(TimeWait));
    let ending = only(&mut joiner);
    assert_eq!(ending.states.expect("its end was seen").fin_wait1, None);
    assert_eq!(ending.closed_first, Some(Side::Local));
    assert_eq!(ending.closer, None);
    assert_eq!(ending.evidence, Evidence::Inferred);
}

#[test]
fn a_socket_at_a_used_address_begins_anew() {
    let mut joiner = Joiner::new(true);
    let earlier = Life::new(1);
    earlier.opens(&mut joiner);
    earlier.step(&mut joiner, 10, Established, FinWait1);
    // Its end was dropped. The next socket there is accepted, and its peer closes.
    joiner.missed(earlier.at + 11 * MS, earlier.at + 12 * MS);
    let life = Life {
        sk: earlier.sk,
        ..Life::new(100)
    };
    life.step(&mut joiner, 0, SynRecv, Established);
    life.step(&mut joiner, 10, Established, CloseWait);
    life.step(&mut joiner, 20, CloseWait, LastAck);
    life.step(&mut joiner, 30, LastAck, Close);
    life.is_destroyed(&mut joiner, 30);
    life.obituary(&mut joiner);
    let told = joiner.take().pop().expect("it ended");
    assert_eq!(told.opened, Some(life.at));
    assert_eq!(told.ending.tuple, life.tuple());
    assert_eq!(told.ending.closed_first, Some(Side::Peer));
    assert_eq!(told.ending.fate, Some(Fate::Confirmed));
    assert_eq!(told.ending.evidence, Evidence::Observed);
}

#[test]
fn a_socket_at_a_used_address_is_known_by_its_ends_alone() {
    let mut joiner = Joiner::new(true);
    let earlier = Life::new(1);
    earlier.opens(&mut joiner);
    joiner.missed(earlier.at + 11 * MS, earlier.at + 99 * MS);
    // Of the next one there, the beginning is missing too.
    let life = Life {
        sk: earlier.sk,
        ..Life::new(100)
    };
    life.aborts(&mut joiner, 5);
    life.closes_first(&mut joiner);
    life.obituary(&mut joiner);
    answer(&mut joiner, 140 * MS, Some(TimeWait));
    let told = joiner.take().pop().expect("it ended");
    assert_eq!(told.opened, None);
    assert_eq!(told.ending.tuple, life.tuple());
    // Nor does an RST of another's ends stick to the earlier one.
    earlier.step(&mut joiner, 200, Established, Close);
    earlier.is_destroyed(&mut joiner, 200);
    earlier.obituary(&mut joiner);
    let ending = only(&mut joiner);
    assert_eq!((ending.fate, ending.rst), (None, None));
}

#[test]
fn an_ending_whose_story_was_let_go_is_inferred() {
    let mut joiner = Joiner::new(true);
    let lives: Vec<_> = (1..=(1 << 18) + 1).map(Life::new).collect();
    for life in &lives {
        assert_eq!(joiner.counts().unfollowed, 0);
        life.opens(&mut joiner);
        life.closes_first(&mut joiner);
    }
    assert_eq!(joiner.counts().unfollowed, 1);
    let last = lives[lives.len() - 1];
    for (life, evidence) in [(lives[0], Evidence::Inferred), (last, Evidence::Observed)] {
        life.obituary(&mut joiner);
        answer(&mut joiner, last.at + 40 * MS, Some(TimeWait));
        let ending = only(&mut joiner);
        assert_eq!(ending.fate, Some(Fate::Confirmed));
        assert_eq!(ending.evidence, evidence);
    }
}

#[test]
fn stories_without_an_end_make_room_after_a_gap() {
    let mut joiner = Joiner::new(true);
    let full = 1 << 17;
    for number in 1..=full {
        Life::new(number).opens(&mut joiner);
    }
    let unfollowed = Life::new(full + 1);
    unfollowed.opens(&mut joiner);
    assert!(joiner.counts().unfollowed > 0);
    // Of what is not followed the end alone may be heard: then little is known.
    let before = joiner.counts().unfollowed;
    joiner.missed(unfollowed.at, unfollowed.at + MS);
    unfollowed.step(&mut joiner, 10, Established, Close);
    unfollowed.is_destroyed(&mut joiner, 10);
    unfollowed.obituary(&mut joiner);
    let ending = only(&mut joiner);
    assert_eq!((ending.fate, ending.rst), (None, None));
    assert_eq!(ending.evidence, Evidence::Inferred);
    // The ends of all the others were in the gap.
    let life = Life::new(full + 2);
    life.opens(&mut joiner);
    assert_eq!(joiner.counts().unfollowed, before);
    let ending = life.ends_in_time_wait(&mut joiner);
    assert_eq!(ending.evidence, Evidence::Observed);
}

#[test]
fn what_a_timer_ended_was_given_up_unless_an_rst_may_have_gone_unseen() {
    let told = |gap: bool| {
        let (mut joiner, life) = opened();
        life.step(&mut joiner, 10, Established, FinWait1);
        if gap {
            joiner.missed(life.at + 15 * MS, life.at + 16 * MS);
        }
        life.step(&mut joiner, 20, FinWait1, Close);
        life.is_destroyed(&mut joiner, 20);
        life.obituary(&mut joiner);
        only(&mut joiner)
    };
    let ending = told(false);
    assert_eq!((ending.fate, ending.error), (Some(Fate::Failed), None));
    assert_eq!(ending.rst, Some(Rst::None));
    assert_eq!(ending.evidence, Evidence::Observed);
    let ending = told(true);
    assert_eq!((ending.fate, ending.rst), (None, None));
}
