//! Every ending that a small connection can have.
//!
//! A breadth-first search over all orders in which a network, a peer, a kernel
//! and the passing of time can act between two observations, for every kind of
//! policy and from every state a close can begin in. The connection carries two
//! units of payload, the peer can send two, and time passes in ticks up to past
//! every deadline. Invariants are checked at each step.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::*;

const TICK: Duration = Duration::from_millis(100);
/// The linger time of the policies below, in ticks.
const LINGER: u8 = 3;
/// Past the linger time and the drain time after it.
const END_OF_TIME: u8 = 7;

/// The kernel's side of the connection, and the peer behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Net {
    unsent: u64,
    flight: u64,
    acked: u64,
    fin: Fin,
    /// Input that may still come, that waits, that was read.
    coming: u64,
    unread: u64,
    read: u64,
    peer_fin: bool,
    /// Gone, with this error pending.
    gone: Option<Option<Errno>>,
    frozen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
enum Fin {
    None,
    Queued,
    Sent,
    Acked,
}

impl Net {
    fn fin_waits(&self) -> u64 {
        u64::from(matches!(self.fin, Fin::Queued | Fin::Sent))
    }

    fn queued(&self) -> u64 {
        self.unsent + self.flight + self.fin_waits()
    }

    fn payload(&self) -> u64 {
        self.unsent + self.flight
    }

    fn state(&self) -> TcpState {
        match (self.gone, self.fin, self.peer_fin) {
            (Some(_), ..) => TcpState::Closed,
            (None, Fin::None, false) => TcpState::Established,
            (None, Fin::None, true) => TcpState::CloseWait,
            (None, Fin::Queued | Fin::Sent, false) => TcpState::FinWait1,
            (None, Fin::Queued | Fin::Sent, true) => TcpState::LastAck,
            (None, Fin::Acked, false) => TcpState::FinWait2,
            (None, Fin::Acked, true) => TcpState::Closed,
        }
    }

    fn look(&mut self, allowance: u64, full: bool) -> Observation {
        let drained = self.unread.min(allowance);
        self.unread -= drained;
        self.read += drained;
        let eof = self.peer_fin && self.unread == 0 && allowance > drained;
        let state = self.state();
        // Reading reports a pending error too, and makes the look a full one.
        let full = full || matches!(self.gone, Some(Some(_)));
        let detail = full.then(|| Detail {
            state,
            unsent: self.unsent + u64::from(self.fin == Fin::Queued),
            acked: Some(self.acked + u64::from(self.fin == Fin::Acked)),
            transmitted: self.acked + self.flight,
            error: self.gone.and_then(|error| error),
            fin_acked: Some(self.fin == Fin::Acked),
            unanswered: false,
            since_ack: Duration::ZERO,
        });
        Observation {
            queued: self.queued(),
            drained,
            unread: self.unread,
            eof: eof || (full && matches!(state, TcpState::CloseWait | TcpState::LastAck)),
            detail,
        }
    }

    /// Everything that can happen next on the network.
    fn moves(&self) -> Vec<Net> {
        let mut next = Vec::new();
        if self.gone.is_some() || self.frozen {
            return next;
        }
        let mut then = |change: &dyn Fn(&mut Net)| {
            let mut net = self.clone();
            change(&mut net);
            next.push(net);
        };
        if self.unsent > 0 {
            then(&|n| {
                n.unsent -= 1;
                n.flight += 1;
            });
        } else if self.fin == Fin::Queued {
            then(&|n| n.fin = Fin::Sent);
        }
        if self.flight > 0 {
            then(&|n| {
                n.flight -= 1;
                n.acked += 1;
            });
        } else if self.fin == Fin::Sent && self.unsent == 0 {
            then(&|n| n.fin = Fin::Acked);
        }
        if !self.peer_fin {
            if self.coming > 0 {
                then(&|n| {
                    n.coming -= 1;
                    n.unread += 1;
                });
            }
            then(&|n| n.peer_fin = true);
        }
        if !(self.fin == Fin::Acked && self.peer_fin) {
            then(&|n| n.gone = Some(Some(Errno::ECONNRESET)));
            then(&|n| n.gone = Some(Some(Errno::ETIMEDOUT)));
        }
        next
    }
}

/// A connection, its ending, and what was said of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    net: Net,
    ending: Ending,
    now: u8,
    reports: u8,
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
            if let Some(report) = step.report {
                world.reports += 1;
                self.check_report(world, &report);
            }
            let full = match step.action {
                Action::Wait => {
                    self.check_wait(world);
                    return;
                }
                Action::Close => {
                    self.check_close(world, step.report);
                    world.over = true;
                    return;
                }
                Action::Abort => {
                    assert!(world.net.frozen, "counts move until the RST");
                    world.over = true;
                    assert_eq!(world.reports, 1, "{world:?}");
                    return;
                }
                Action::SendFin => {
                    if world.net.gone.is_some() {
                        world.ending.fin_refused();
                        true
                    } else {
                        assert_eq!(world.net.fin, Fin::None, "a second FIN");
                        world.net.fin = Fin::Queued;
                        false
                    }
                }
                Action::Look => true,
                Action::Freeze => {
                    world.net.frozen = true;
                    true
                }
            };
            let seen = world.net.look(world.ending.drain_allowance(), full);
            step = world.ending.observe(TICK * u32::from(world.now), &seen);
        }
        panic!("the machine goes in circles: {world:?}");
    }

    fn check_report(&mut self, world: &World, report: &Report) {
        let net = &world.net;
        self.fates.insert(report.fate.as_str());
        assert_eq!(world.reports, 1, "a second report: {world:?}");
        if report.fate.is_delivered() {
            assert_eq!(net.payload(), 0, "{report:?} {world:?}");
            assert_eq!(net.fin, Fin::Acked, "{report:?} {world:?}");
            assert_eq!(report.lost, Some(0));
        }
        if report.fate == Fate::Confirmed {
            assert!(net.peer_fin, "{world:?}");
        }
        if self.policy.confirms() {
            assert_ne!(report.fate, Fate::Delivered, "{world:?}");
        }
        if report.fate == Fate::Detached {
            assert!(
                report
                    .lost
                    .is_none_or(|lost| lost == 0 && net.payload() == 0)
            );
        } else {
            assert_eq!(report.lost, Some(net.payload()), "{report:?} {world:?}");
        }
        if let (Some(acked), Some(lost)) = (report.acked, report.lost) {
            assert_eq!(acked + lost, self.written, "{report:?} {world:?}");
        }
        assert_eq!(report.unread, Some(net.read + net.unread), "{world:?}");
        assert_eq!(
            report.error.is_none(),
            !report.fate.is_failure(),
            "{report:?}"
        );
    }

    /// The one way in which plain close(2) loses what was queued.
    fn check_close(&self, world: &World, report: Option<Report>) {
        assert_eq!(world.reports, 1, "over without a report: {world:?}");
        let net = &world.net;
        if net.unread > 0 && net.queued() > 0 && net.gone.is_none() {
            let lost = report.and_then(|report| report.lost);
            assert!(lost.is_some_and(|lost| lost > 0), "{world:?}");
        }
    }

    fn check_wait(&self, world: &World) {
        let at = TICK * u32::from(world.now);
        if self.policy.linger().deadline().is_some() {
            assert!(
                world.ending.deadline().is_some(),
                "may never end: {world:?}"
            );
        }
        if world.reports == 0 && self.policy.linger() == Linger::Wait(TICK * u32::from(LINGER)) {
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
        self.policy.linger().deadline().is_some() && self.policy.drain_time() <= TICK * 2
    }

    fn run(&mut self, start: Net) {
        let mut net = start;
        let first = net.look(0, true);
        let (ending, step) = Ending::begin(self.policy, &first);
        let mut world = World {
            net,
            ending,
            now: 0,
            reports: 0,
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
            for full in [false, true] {
                let mut looked = world.clone();
                let seen = looked.net.look(looked.ending.drain_allowance(), full);
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

fn starts() -> Vec<(u64, Net)> {
    let fresh = Net {
        unsent: 1,
        flight: 1,
        acked: 0,
        fin: Fin::None,
        coming: 1,
        unread: 1,
        read: 0,
        peer_fin: false,
        gone: None,
        frozen: false,
    };
    let mut starts = Vec::new();
    for unread in [0, 1] {
        for peer_fin in [false, true] {
            for fin in [Fin::None, Fin::Queued, Fin::Acked] {
                for (unsent, flight) in [(0, 0), (1, 1)] {
                    if fin == Fin::Acked && unsent > 0 {
                        continue;
                    }
                    starts.push((
                        unsent + flight,
                        Net {
                            unsent,
                            flight,
                            fin,
                            unread,
                            peer_fin,
                            ..fresh
                        },
                    ));
                }
            }
        }
    }
    // Gone before the close began, the error pending or taken already.
    for error in [Some(Errno::ECONNRESET), Some(Errno::ETIMEDOUT), None] {
        for unread in [0, 1] {
            starts.push((
                2,
                Net {
                    gone: Some(error),
                    unread,
                    ..fresh
                },
            ));
        }
    }
    starts
}

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
    Policy::wait(TICK * u32::from(LINGER)).drain_for(TICK * 2)
}

fn assert_fates(fates: &HashSet<&'static str>, expected: &[&'static str]) {
    assert_eq!(fates, &expected.iter().copied().collect());
}

#[test]
fn every_wait_ends_well_or_says_why() {
    let fates = explore(wait());
    assert_fates(&fates, &["delivered", "timed_out", "reset", "failed"]);
}

#[test]
fn every_wait_with_a_stall_time() {
    let fates = explore(wait().stall(TICK));
    assert_fates(
        &fates,
        &["delivered", "timed_out", "stalled", "reset", "failed"],
    );
}

#[test]
fn every_confirmed_wait() {
    let fates = explore(wait().confirm());
    assert_fates(&fates, &["confirmed", "timed_out", "reset", "failed"]);
}

#[test]
fn every_wait_without_time_wait() {
    let fates = explore(wait().without_time_wait());
    assert_fates(&fates, &["delivered", "timed_out", "reset", "failed"]);
}

#[test]
fn every_wait_that_may_discard_little() {
    for bytes in [0, 1] {
        let fates = explore(wait().drain(bytes));
        assert_fates(&fates, &["delivered", "timed_out", "reset", "failed"]);
    }
}

#[test]
fn every_wait_that_closes_at_delivery() {
    let fates = explore(wait().drain_for(Duration::ZERO));
    assert_fates(&fates, &["delivered", "timed_out", "reset", "failed"]);
}

#[test]
fn every_wait_that_holds_only_a_sending_peer() {
    let fates = explore(Policy::wait(TICK * u32::from(LINGER)));
    assert_fates(&fates, &["delivered", "timed_out", "reset", "failed"]);
}

#[test]
fn every_wait_without_a_deadline() {
    let endless = Policy::new(Linger::Endless { l_linger: -1 }).drain_for(TICK * 2);
    let fates = explore(endless);
    assert_fates(&fates, &["delivered", "reset", "failed"]);
}

#[test]
fn every_background_close() {
    let fates = explore(Policy::off().drain_for(TICK * 2));
    assert_fates(&fates, &["delivered", "reset", "failed"]);
    // One that loses patience is left to the kernel, or, where that would lose
    // data because of unread input, says so.
    let fates = explore(Policy::off().drain_for(TICK * 2).drain(0).stall(TICK));
    assert_fates(
        &fates,
        &["delivered", "detached", "stalled", "reset", "failed"],
    );
}

#[test]
fn every_abort() {
    let fates = explore(Policy::abort());
    assert_fates(&fates, &["aborted"]);
}
