//! Every ending that a small connection can have.
//!
//! A breadth-first search over all orders in which a network, a peer, a kernel
//! and the passing of time can act between two observations, for every kind of
//! policy and from every state a close can begin in: during a handshake with data
//! in it, with the reading side shut down, with a kernel that refuses to be asked.
//! The connection carries two units of payload, the peer can send two, and time
//! passes in ticks up to past every deadline. Each report is checked against what
//! the modelled kernel knows to be true.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::*;

mod net;

use net::{Hand, LocalFin, Net, Whose, starts};

const TICK: Duration = Duration::from_millis(100);
/// The linger time of the policies below, in ticks.
const LINGER: u8 = 3;
/// How long they hold a connection after delivery.
const HOLD: u8 = 2;
/// Past the linger time and the drain time after it.
const END_OF_TIME: u8 = 7;

/// A connection, its ending, and the report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    net: Net,
    ending: Ending,
    now: u8,
    /// When the report came.
    reported: Option<u8>,
    /// The last look was one at the state.
    saw_state: bool,
    over: bool,
}

struct Explored<'a> {
    policy: &'a Policy,
    written: u64,
    /// The fates that were reached.
    fates: HashSet<&'static str>,
    worlds: usize,
}

impl Explored<'_> {
    /// Does what the machine says, as the real driver does.
    fn act(&mut self, world: &mut World, mut step: Step) {
        for _ in 0..8 {
            if world.ending.wants_trim() {
                world.net.trimmed = world.net.trim_works;
                world.ending.trimmed(world.net.trim_works);
            }
            if let Some(report) = step.report {
                assert!(world.reported.is_none(), "a second report: {world:?}");
                world.reported = Some(world.now);
                self.check_report(world, &report, step.action);
            }
            let kind = match step.action {
                Action::Wait => {
                    self.check_wait(world);
                    return;
                }
                Action::Close => {
                    if let Some(bytes) = world.ending.discarded() {
                        let net = &world.net;
                        let all = net.read + net.unread + net.trimmed_away;
                        assert_eq!(bytes, all, "{world:?}");
                    }
                    self.check_close(world, step.report);
                    world.over = true;
                    return;
                }
                Action::Abort => {
                    assert!(
                        world.net.frozen || !world.net.freeze_works,
                        "counts move until the RST"
                    );
                    world.over = true;
                    assert!(world.reported.is_some(), "{world:?}");
                    return;
                }
                Action::SendFin => match world.net.shut_down() {
                    Ok(()) => Look::Input,
                    Err(error) => {
                        world.ending.fin_refused(error);
                        Look::Full
                    }
                },
                Action::Look => Look::Full,
                Action::Freeze => {
                    world.net.frozen = world.net.freeze_works;
                    if !world.net.freeze_works {
                        world.ending.freeze_refused();
                    }
                    Look::Full
                }
            };
            let seen = world.net.look(world.ending.drain_allowance(), kind);
            world.saw_state = seen.detail.is_some();
            step = world.ending.observe(TICK * u32::from(world.now), &seen);
        }
        panic!("the machine goes in circles: {world:?}");
    }

    fn check_report(&mut self, world: &World, report: &Report, action: Action) {
        let net = &world.net;
        self.fates.insert(report.fate.as_str());
        if report.fate.is_delivered() {
            assert_eq!(net.payload(), 0, "{report:?} {world:?}");
            assert_eq!(net.fin, LocalFin::Acked, "{report:?} {world:?}");
            assert_eq!(net.hand, Hand::Done, "{report:?} {world:?}");
            assert_eq!(report.lost, Some(0));
        }
        if report.fate == Fate::Confirmed {
            assert!(net.peer_fin, "{world:?}");
        }
        if self.policy.confirm() {
            assert_ne!(report.fate, Fate::Delivered, "{world:?}");
        }
        self.check_counts(world, report);
        self.check_cause(world, report);
        // Whether the report of the RST is right.
        if net.gone.is_some() && !world.saw_state {
            // It broke after all was delivered, which this look did not go into.
            let blind = net.blind && report.rst_sent.is_none();
            assert!(blind || report.fate.is_delivered(), "{report:?} {world:?}");
        } else if let Some(rst) = report.rst_sent {
            let sends = match action {
                Action::Close => net.close_sends_rst(),
                Action::Abort => net.abort_sends_rst(),
                _ => false,
            };
            assert_eq!(rst, sends || net.rst_by_us(), "{report:?} {world:?}");
        } else {
            let unknowable = net.blind || net.fin_forbidden || net.taken() || net.shut_at_death();
            assert!(unknowable, "the RST is unknown: {report:?} {world:?}");
        }
        if let Some(side) = report.closed_first {
            let first = net.first.unwrap_or(Side::Local);
            assert_eq!(side, first, "{report:?} {world:?}");
        } else if report.fate.is_delivered() && net.state() != TcpState::Closed {
            panic!("who closed first is known: {report:?} {world:?}");
        }
    }

    fn check_counts(&self, world: &World, report: &Report) {
        let net = &world.net;
        match (report.fate, report.lost) {
            (Fate::Detached, lost) => assert!(lost.is_none_or(|n| n == 0 && net.payload() == 0)),
            (_, Some(lost)) => assert_eq!(lost, net.payload(), "{report:?} {world:?}"),
            (_, None) => assert!(net.blind || !net.freeze_works, "{report:?} {world:?}"),
        }
        if let (Some(acked), Some(lost)) = (report.acked, report.lost) {
            assert_eq!(acked + lost, self.written, "{report:?} {world:?}");
        }
        match report.unread {
            Some(unread) => {
                assert_eq!(
                    unread,
                    net.read + net.unread + net.trimmed_away,
                    "{world:?}"
                );
            }
            None => assert!(
                net.blind || net.trimmed || net.fin_forbidden,
                "{report:?} {world:?}"
            ),
        }
    }

    /// The fate against the error, and both against what really happened.
    fn check_cause(&self, world: &World, report: &Report) {
        let net = &world.net;
        let due = self.policy.linger().deadline() == Some(TICK * u32::from(LINGER));
        match report.fate {
            Fate::Delivered | Fate::Confirmed | Fate::Aborted => assert_eq!(report.error, None),
            Fate::TimedOut => {
                assert_eq!(report.error, Some(Errno::EWOULDBLOCK));
                // A wait lasts its time, that for the peer too.
                assert!(world.now >= LINGER || !due, "too early: {world:?}");
            }
            Fate::Stalled => assert_eq!(report.error, Some(Errno::EWOULDBLOCK)),
            Fate::Reset => {
                assert_eq!(report.error, Some(Errno::ECONNRESET));
                let whose = net.gone.map(|gone| gone.whose);
                assert_eq!(whose, Some(Whose::Peer), "{report:?} {world:?}");
            }
            Fate::Failed => {
                let gone = net.gone.expect("what failed is gone");
                let known = gone.whose == Whose::Peer && !net.taken() && !net.blind;
                let known = known && !net.shut_at_death();
                assert!(!known, "the peer's reset: {report:?} {world:?}");
                if let Some(error) = report.error {
                    assert_ne!(error, Errno::EWOULDBLOCK);
                    assert_eq!(Some(error), gone.error, "{report:?} {world:?}");
                }
            }
            Fate::Detached => {
                let waits = self.policy.linger() != Linger::Off;
                assert_eq!(report.error.is_some(), waits, "{report:?} {world:?}");
                assert!(!waits || net.blind || net.fin_forbidden, "{world:?}");
            }
        }
    }

    /// The one way in which plain close(2) loses what was queued, and a hold that
    /// does not last.
    fn check_close(&self, world: &World, report: Option<Report>) {
        let reported = world.reported.expect("over with a report");
        let net = &world.net;
        let sees = !net.blind && !net.fin_forbidden;
        if net.unread > 0 && net.queued() > 0 && net.gone.is_none() && sees {
            let lost = report.and_then(|report| report.lost);
            assert!(lost.is_some_and(|lost| lost > 0), "{world:?}");
        }
        let held = report.is_none();
        if held && !net.peer_fin && net.gone.is_none() && net.unread == 0 && !net.blind {
            assert!(world.now >= reported + HOLD, "held too short: {world:?}");
        }
    }

    fn check_wait(&self, world: &World) {
        let at = TICK * u32::from(world.now);
        let linger = self.policy.linger();
        if linger.deadline().is_some() || linger == Linger::Off {
            assert!(
                world.ending.deadline().is_some(),
                "may never end: {world:?}"
            );
        }
        if world.reported.is_none() && linger == Linger::Wait(TICK * u32::from(LINGER)) {
            assert!(
                at < TICK * u32::from(LINGER),
                "past its deadline: {world:?}"
            );
        }
        assert!(
            world.ending.deadline().is_none_or(|due| due > at),
            "due already, so its driver would spin: {world:?}"
        );
    }

    fn ends_in_time(&self) -> bool {
        self.policy.linger().deadline().is_some() && self.policy.hold_time() <= TICK * 2
    }

    fn run(&mut self, start: Net) {
        let mut net = start;
        let first = net.first_look();
        let (ending, step) = Ending::begin(self.policy, &first);
        let mut world = World {
            net,
            ending,
            now: 0,
            reported: None,
            saw_state: true,
            over: false,
        };
        self.act(&mut world, step);
        let mut seen = HashSet::from([world.clone()]);
        let mut open = VecDeque::from([world]);
        while let Some(world) = open.pop_front() {
            if world.over {
                continue;
            }
            let mut next = Vec::new();
            for net in world.net.moves() {
                next.push(World {
                    net,
                    ..world.clone()
                });
            }
            // A driver may be late, but not sleep through a deadline.
            let due = world.ending.deadline().unwrap_or(Duration::MAX);
            if world.now < END_OF_TIME && TICK * u32::from(world.now) < due {
                next.push(World {
                    now: world.now + 1,
                    ..world.clone()
                });
            }
            // A driver may look at any time, and must when a step is due.
            let kinds = if world.ending.is_holding() {
                [Look::Late, Look::HangUp, Look::Full]
            } else {
                [Look::Queue, Look::Input, Look::Full]
            };
            for kind in kinds {
                let mut looked = world.clone();
                let seen = looked.net.look(looked.ending.drain_allowance(), kind);
                looked.saw_state = seen.detail.is_some();
                let step = looked.ending.observe(TICK * u32::from(looked.now), &seen);
                self.act(&mut looked, step);
                if looked.now == END_OF_TIME && self.ends_in_time() {
                    assert!(looked.over, "never ends: {looked:?}");
                }
                next.push(looked);
            }
            for world in next {
                if seen.insert(world.clone()) {
                    open.push_back(world);
                }
            }
        }
        self.worlds += seen.len();
    }
}

use crate::sys::Look;

fn explore(policy: Policy) -> HashSet<&'static str> {
    let mut fates = HashSet::new();
    let mut worlds = 0;
    for (written, start) in starts() {
        let mut explored = Explored {
            policy: &policy,
            written,
            fates: HashSet::new(),
            worlds: 0,
        };
        explored.run(start);
        fates.extend(explored.fates);
        worlds += explored.worlds;
    }
    assert!(worlds > 0);
    println!("{policy:?}: {worlds} worlds, fates {fates:?}");
    fates
}

fn wait() -> Policy {
    Policy::wait(TICK * u32::from(LINGER)).with_drain_time(TICK * u32::from(HOLD))
}

fn assert_fates(fates: &HashSet<&'static str>, expected: &[&'static str]) {
    assert_eq!(fates, &expected.iter().copied().collect());
}

/// `detached`: a kernel that refuses to be asked.
#[test]
fn every_wait_ends_well_or_says_why() {
    let fates = explore(wait());
    assert_fates(
        &fates,
        &["delivered", "timed_out", "reset", "failed", "detached"],
    );
}

#[test]
fn every_wait_with_a_stall_time() {
    let fates = explore(wait().with_stall(TICK));
    assert_fates(
        &fates,
        &[
            "delivered",
            "timed_out",
            "stalled",
            "reset",
            "failed",
            "detached",
        ],
    );
}

#[test]
fn every_confirmed_wait() {
    let fates = explore(wait().with_confirm(true));
    assert_fates(
        &fates,
        &["confirmed", "timed_out", "reset", "failed", "detached"],
    );
}

#[test]
fn every_wait_without_time_wait() {
    let fates = explore(wait().with_time_wait(false));
    assert_fates(
        &fates,
        &["delivered", "timed_out", "reset", "failed", "detached"],
    );
}

#[test]
fn every_wait_that_may_discard_little() {
    for bytes in [0, 1] {
        let fates = explore(wait().with_drain_bytes(bytes));
        assert_fates(
            &fates,
            &["delivered", "timed_out", "reset", "failed", "detached"],
        );
    }
}

#[test]
fn every_wait_that_closes_at_delivery() {
    let fates = explore(wait().with_drain_time(Duration::ZERO));
    assert_fates(
        &fates,
        &["delivered", "timed_out", "reset", "failed", "detached"],
    );
}

#[test]
fn every_wait_that_holds_only_a_sending_peer() {
    let fates = explore(Policy::wait(TICK * u32::from(LINGER)));
    assert_fates(
        &fates,
        &["delivered", "timed_out", "reset", "failed", "detached"],
    );
}

#[test]
fn every_wait_without_a_deadline() {
    let endless =
        Policy::new(Linger::Endless { l_linger: -1 }).with_drain_time(TICK * u32::from(HOLD));
    let fates = explore(endless);
    assert_fates(&fates, &["delivered", "reset", "failed", "detached"]);
}

#[test]
fn every_background_close() {
    let off = Policy::off().with_drain_time(TICK * u32::from(HOLD));
    let fates = explore(off);
    assert_fates(&fates, &["delivered", "reset", "failed", "detached"]);
    // One that loses patience is left to the kernel, or, where that would lose
    // data because of unread input, says so.
    let fates = explore(off.with_drain_bytes(0).with_stall(TICK));
    assert_fates(
        &fates,
        &["delivered", "detached", "stalled", "reset", "failed"],
    );
}

#[test]
fn every_background_close_that_is_confirmed_has_a_bound() {
    let off = Policy::off().with_drain_time(TICK * u32::from(HOLD));
    let fates = explore(off.with_confirm(true).with_stall(TICK));
    assert_fates(
        &fates,
        &[
            "confirmed",
            "timed_out",
            "stalled",
            "reset",
            "failed",
            "detached",
        ],
    );
}

#[test]
fn every_abort() {
    let fates = explore(Policy::abort());
    assert_fates(&fates, &["aborted"]);
}
