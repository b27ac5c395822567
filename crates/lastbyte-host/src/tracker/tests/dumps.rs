//! What the tracker keeps of dumps, and for how long it keeps what it was given.

use lastbyte::Side;

use super::life::{Life, MS, a_socket, answer, only};
use crate::ending::{Evidence, Rst};
use crate::parse::inet_diag::Socket;
use crate::process::{Comm, Process};
use crate::reason::Reason;
use crate::tracker::Tracker;
use crate::tuple::State::{self, *};

const SECOND: u64 = 1000 * MS;

fn row(state: State, cookie: u64, inode: u32) -> Socket {
    Socket {
        state,
        cookie,
        inode,
        space: 3,
        ..a_socket()
    }
}

/// One dump that shows these.
fn dump(tracker: &mut Tracker, at: u64, rows: &[Socket]) {
    tracker.begin_round(at);
    for socket in rows {
        tracker.row(at, socket);
    }
    tracker.end_round(|_| None);
}

fn living(tracker: &Tracker) -> Vec<u64> {
    let mut cookies: Vec<_> = tracker.living().map(|(cookie, _)| cookie).collect();
    cookies.sort_unstable();
    cookies
}

#[test]
fn a_sample_stays_for_one_more_dump_and_of_a_held_socket_for_sixty() {
    let mut tracker = Tracker::new(false);
    let rows = [row(Established, 1, 0), row(Established, 2, 77)];
    dump(&mut tracker, 10, &rows);
    tracker.tick(20);
    assert_eq!(living(&tracker), [1, 2]);
    dump(&mut tracker, 30, &[]);
    assert_eq!(living(&tracker), [1, 2]);
    dump(&mut tracker, 40, &[]);
    assert_eq!(living(&tracker), [2]);
    for _ in 3..=60 {
        dump(&mut tracker, 50, &[]);
    }
    assert_eq!(living(&tracker), [2]);
    dump(&mut tracker, 60, &[]);
    assert_eq!(living(&tracker), [0; 0]);
}

#[test]
fn a_sample_stays_while_what_happened_since_is_not_joined() {
    let mut tracker = Tracker::new(false);
    dump(&mut tracker, 10, &[row(Established, 1, 0)]);
    tracker.tick(10);
    dump(&mut tracker, 30, &[]);
    dump(&mut tracker, 40, &[]);
    assert_eq!(living(&tracker), [1]);
    tracker.tick(11);
    dump(&mut tracker, 50, &[]);
    assert_eq!(living(&tracker), [0; 0]);
}

#[test]
fn listeners_are_known_by_port_and_network_namespace() {
    let mut tracker = Tracker::new(false);
    let listener = row(Listen, 1, 7);
    let port = listener.tuple.local.port;
    tracker.listener(&row(Established, 2, 7));
    assert!(!tracker.listens(port));
    tracker.listener(&listener);
    assert!(tracker.listens(port) && tracker.listens_in(3, port));
    assert!(!tracker.listens_in(4, port));
    for other in [port ^ 1, port ^ 64] {
        assert!(!tracker.listens(other) && !tracker.listens_in(3, other));
    }
    tracker.leave(3);
    assert!(!tracker.listens(port));
}

#[test]
fn owners_are_wanted_of_held_sockets_of_this_dump_until_they_are_known() {
    let owner = Process {
        pid: 812,
        comm: Comm::from_bytes(b"app"),
    };
    let mut tracker = Tracker::new(false);
    dump(&mut tracker, 10, &[row(Established, 1, 0)]);
    assert!(!tracker.owners_wanted(), "nobody holds it");
    dump(&mut tracker, 20, &[row(Established, 2, 77)]);
    assert!(tracker.owners_wanted());
    tracker.end_round(|inode| (inode == 77).then_some((owner, 5)));
    assert!(!tracker.owners_wanted());
    let of = |tracker: &Tracker, cookie: u64| {
        let mut living = tracker.living();
        living
            .find(|(c, _)| *c == cookie)
            .and_then(|(_, sample)| sample.owner)
    };
    assert_eq!(of(&tracker, 2), Some((owner, 5)));
    assert_eq!(of(&tracker, 1), None);
    // Of one that this dump did not show, nobody is asked for.
    dump(&mut tracker, 30, &[row(Established, 3, 78)]);
    dump(&mut tracker, 40, &[]);
    assert!(!tracker.owners_wanted());
}

#[test]
fn listeners_are_asked_for_where_one_of_syn_and_fin_is_counted_and_nothing_else_tells() {
    let notice = |acked: u64| {
        let mut socket = Socket {
            rqueue: 0,
            ..row(Closed, 9, 0)
        };
        if let Some(counts) = socket.info.as_mut().and_then(|info| info.counts.as_mut()) {
            counts.acked = acked;
        }
        [(0, socket)]
    };
    let mut tracker = Tracker::new(true);
    assert!(tracker.wants_listeners(&notice(101)));
    assert!(!tracker.wants_listeners(&notice(100)) && !tracker.wants_listeners(&notice(102)));
    // A sample knew who had connected: our SYN was acknowledged before any FIN.
    let mut sampled = notice(101)[0].1;
    sampled.state = Established;
    dump(&mut tracker, 10, &[sampled]);
    assert!(!tracker.wants_listeners(&notice(101)));
    let mut tracker = Tracker::new(true);
    tracker.listener(&row(Listen, 1, 7));
    assert!(!tracker.wants_listeners(&notice(101)));
    // Its steps are known.
    let mut tracker = Tracker::new(true);
    let life = Life::new(8);
    life.opens(&mut tracker);
    life.is_destroyed(&mut tracker, 10);
    assert_eq!(life.cookie(), 9);
    assert!(!tracker.wants_listeners(&notice(101)));
}

#[test]
fn a_destroyed_socket_waits_five_seconds_for_its_notice() {
    let evidence = |waits: u64| {
        let mut tracker = Tracker::new(true);
        let life = Life::new(1);
        life.opens(&mut tracker);
        life.closes_first(&mut tracker);
        tracker.tick(life.at + 30 * MS + waits);
        life.destroy_notice(&mut tracker);
        answer(&mut tracker, life.at + 40 * MS, Some(TimeWait));
        only(&mut tracker).evidence
    };
    assert_eq!(evidence(5 * SECOND), Evidence::Observed);
    assert_eq!(evidence(5 * SECOND + 1), Evidence::Inferred);
}

#[test]
fn a_peers_rst_is_remembered_for_ten_seconds() {
    let reason = |later: u64| {
        let mut tracker = Tracker::new(true);
        let life = Life::new(1);
        life.opens(&mut tracker);
        life.closes_first(&mut tracker);
        life.destroy_notice(&mut tracker);
        life.reset(&mut tracker, 35, Side::Peer, Reason::ABORT_ON_CLOSE);
        tracker.tick(life.at + 35 * MS + later);
        answer(&mut tracker, life.at + 35 * MS + later, None);
        only(&mut tracker).rst.map(Rst::by)
    };
    assert_eq!(reason(10 * SECOND), Some("peer"));
    assert_eq!(reason(10 * SECOND + 1), None);
}

#[test]
fn rsts_for_no_connection_are_handed_over_once() {
    let mut tracker = Tracker::new(true);
    let life = Life::new(1);
    life.reset(
        &mut tracker,
        1,
        Side::Local,
        Reason::from_kernel("NO_SOCKET"),
    );
    assert_eq!(tracker.take_strays(), [life.tuple()]);
    assert_eq!(tracker.take_strays(), []);
}
