//! Who is accused of what, and how gravely; and what accuses nobody.

use std::time::{Duration, SystemTime};

use super::*;
use crate::ending::{Bytes, Ending, Evidence, Manner, Rst};
use crate::process::Process;
use crate::reason::Reason;
use crate::tuple::Role;
use crate::tuple::{Endpoint, Tuple};
use lastbyte::{Fate, Side};

const CLIENT: &str = "curl";
const SERVER: &str = "httpd";

/// A server's end on port 80 of the connection from this port, cleanly closed by the
/// client.
fn server(port: u16) -> Ending {
    let end = |port| Endpoint::new([10, 0, 0, 1].into(), port);
    let process = Process {
        pid: 80,
        comm: Comm::from_bytes(SERVER.as_bytes()),
    };
    Ending {
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(100),
        opened: None,
        netns: None,
        cgroup: None,
        mptcp: None,
        tuple: Tuple {
            local: end(80),
            remote: end(port),
        },
        owner: Some(process),
        closer: Some(process),
        fate: Some(Fate::Confirmed),
        error: None,
        closed_first: Some(Side::Peer),
        rst: Some(Rst::None),
        bytes: Bytes {
            lost: Some(0),
            unread: Some(0),
            ..Bytes::default()
        },
        states: None,
        evidence: Evidence::Observed,
        manner: Manner {
            role: Some(Role::Accepted),
            held: None,
            half_closed: None,
            peer_closed: None,
        },
    }
}

/// The other end of it.
fn client(port: u16) -> Ending {
    let process = Process {
        pid: u32::from(port),
        comm: Comm::from_bytes(CLIENT.as_bytes()),
    };
    let server = server(port);
    Ending {
        tuple: server.tuple.reversed(),
        owner: Some(process),
        closer: Some(process),
        closed_first: Some(Side::Local),
        manner: Manner {
            role: Some(Role::Connected),
            ..server.manner
        },
        ..server
    }
}

fn resets(ending: Ending, reason: Reason) -> Ending {
    Ending {
        fate: Some(Fate::Aborted),
        closed_first: Some(Side::Local),
        rst: Some(Rst::By {
            side: Side::Local,
            reason: Some(reason),
            listener: false,
        }),
        ..ending
    }
}

fn is_reset(ending: Ending, lost: u64) -> Ending {
    Ending {
        fate: Some(Fate::Reset),
        rst: Some(Rst::By {
            side: Side::Peer,
            reason: None,
            listener: false,
        }),
        ..lost_of(ending, lost)
    }
}

fn lost_of(ending: Ending, lost: u64) -> Ending {
    let bytes = Bytes {
        lost: Some(lost),
        ..ending.bytes
    };
    Ending { bytes, ..ending }
}

fn unread_of(ending: Ending, unread: u64) -> Ending {
    let bytes = Bytes {
        unread: Some(unread),
        ..ending.bytes
    };
    Ending { bytes, ..ending }
}

fn held(ending: Ending, held: bool) -> Ending {
    let manner = Manner {
        held: Some(held),
        ..ending.manner
    };
    Ending { manner, ..ending }
}

fn found(endings: impl IntoIterator<Item = Ending>) -> Vec<Finding> {
    let mut seen = Observations {
        root: true,
        ..Observations::default()
    };
    for ending in endings {
        seen.ending(&ending, |port| port == 80);
    }
    let mut found = Vec::new();
    closes(&seen, &mut found);
    found
}

fn ids(found: &[Finding]) -> Vec<(&str, Severity)> {
    found.iter().map(|f| (f.id, f.severity)).collect()
}

#[test]
fn a_program_that_was_told_of_its_loss_is_not_accused() {
    let told = held(is_reset(client(1), 255_000), true);
    assert_eq!(found([told.clone()]), []);
    // Unknown is not accused either.
    let mut unknown = told.clone();
    unknown.manner.held = None;
    assert_eq!(found([unknown]), []);
    let untold = found([held(told, false)]);
    assert_eq!(ids(&untold), [("lost-after-close", Severity::Problem)]);
    assert_eq!(
        untold[0].what,
        "pid 1 `curl` (client of port 80) closed 1 connection successfully and lost 255000 bytes \
         that send() had accepted"
    );
}

/// What a victim lost and nobody knows is not 0.
#[test]
fn what_a_victim_lost_may_be_unknown() {
    let pair = |port: u16, lost: Option<u64>| {
        let aggressor = unread_of(resets(server(port), Reason::ABORT_ON_CLOSE), 44_000);
        let mut victim = held(is_reset(client(port), 0), false);
        victim.bytes.lost = lost;
        [aggressor, victim]
    };
    let one = found(pair(1, None));
    assert_eq!(one[0].victims[0].lost, None);
    assert!(!one[0].what.contains("lost"), "{}", one[0].what);
    let lost = found(pair(1, Some(7)).into_iter().chain(pair(2, None)));
    let told: u64 = lost[0]
        .victims
        .iter()
        .filter_map(|victim| victim.lost)
        .sum();
    assert_eq!(told, 7);
    assert!(
        lost[0].what.ends_with("lost 7 bytes at least"),
        "{}",
        lost[0].what
    );
}

#[test]
fn whoever_sent_the_rst_is_accused_and_the_victim_named_once() {
    let aggressor = unread_of(resets(server(1), Reason::ABORT_ON_CLOSE), 44_000);
    let victim = held(is_reset(client(1), 255_000), false);
    for endings in [[aggressor.clone(), victim.clone()], [victim, aggressor]] {
        let found = found(endings);
        assert_eq!(ids(&found), [("reset-by-unread-input", Severity::Problem)]);
        assert_eq!(
            found[0].what,
            "pid 80 `httpd` (server, port 80) closed 1 connection with unread input, and so reset \
             the client; the client, pid 1 `curl`, lost 255000 bytes"
        );
        assert_eq!(
            (found[0].victims[0].connections, found[0].victims[0].lost),
            (1, Some(255_000))
        );
    }
}

#[test]
fn sixty_clients_that_left_early_are_one_finding_and_for_information() {
    let early = (1..=60).map(|port| unread_of(resets(client(port), Reason::ABORT_ON_CLOSE), 50));
    let found = found(early);
    assert_eq!(ids(&found), [("reset-by-unread-input", Severity::Info)]);
    assert_eq!((found[0].count, found[0].examples.len()), (60, SHOWN));
    assert!(
        found[0]
            .what
            .starts_with("`curl` (60 processes: 1, 2, 3, …) (client of port 80) closed 60 "),
        "{}",
        found[0].what
    );
}

#[test]
fn a_close_notify_is_no_lost_data() {
    for size in [24, 31] {
        let unread = unread_of(resets(client(1), Reason::ABORT_ON_CLOSE), size);
        assert_eq!(
            ids(&found([unread])),
            [("tls-close-notify-unread", Severity::Info)]
        );
        let late = resets(server(1), Reason::TIMEWAIT_SOCKET);
        let its = is_reset(client(1), size);
        assert_eq!(
            ids(&found([late, its])),
            [("tls-close-notify-unread", Severity::Info)]
        );
        let orphan = held(is_reset(client(1), size), false);
        assert_eq!(
            ids(&found([orphan])),
            [("tls-close-notify-unread", Severity::Info)]
        );
    }
    // One byte more is data; and so is what else was lost beside it.
    let more = unread_of(resets(server(1), Reason::ABORT_ON_CLOSE), 32);
    assert_eq!(
        ids(&found([more])),
        [("reset-by-unread-input", Severity::Warning)]
    );
    let beside = lost_of(unread_of(resets(server(1), Reason::ABORT_ON_CLOSE), 31), 5);
    assert_eq!(
        ids(&found([beside])),
        [("reset-by-unread-input", Severity::Problem)]
    );
}

#[test]
fn a_keep_alive_race_is_the_servers_and_what_the_client_lost_is_counted() {
    let race = |port| {
        let mut client = is_reset(client(port), 50);
        client.manner.peer_closed = Some(true);
        [resets(server(port), Reason::TIMEWAIT_SOCKET), client]
    };
    let found_here = found((1..=3).flat_map(race));
    assert_eq!(
        ids(&found_here),
        [("closed-while-peer-sent", Severity::Problem)]
    );
    assert!(
        found_here[0].what.ends_with(
            "closed 3 connections first while the client still sent: that got an RST; the \
             client, `curl` (3 processes: 1, 2, 3), lost 150 bytes"
        ),
        "{}",
        found_here[0].what
    );
    // Of a client elsewhere nobody knows what it sent.
    let [server, client] = race(1);
    assert_eq!(
        ids(&found([server])),
        [("closed-while-peer-sent", Severity::Warning)]
    );
    // And of a server elsewhere the client alone can be told of.
    let found = found([client]);
    assert_eq!(ids(&found), [("wrote-after-close", Severity::Problem)]);
    assert!(
        found[0]
            .what
            .contains("after the server's close, and lost 50 bytes on 1")
    );
}

#[test]
fn a_client_that_gave_up_is_no_proxy_that_did_not_wait() {
    let gave_up = resets(client(1), Reason::TIMEWAIT_SOCKET);
    let victim = is_reset(server(1), 100_000);
    let found_here = found([gave_up.clone(), victim.clone()]);
    assert_eq!(
        ids(&found_here),
        [("closed-while-peer-sent", Severity::Info)]
    );
    let mut proxy = gave_up;
    proxy.manner.half_closed = Some(true);
    let found = found([proxy, victim]);
    assert_eq!(ids(&found), [("closed-while-peer-sent", Severity::Problem)]);
    assert!(
        found[0].what.contains("shut down its sending side"),
        "{}",
        found[0].what
    );
}

#[test]
fn a_server_whose_client_left_is_for_information() {
    let mut left = is_reset(server(1), 5000);
    left.manner.peer_closed = Some(true);
    assert_eq!(ids(&found([left])), [("wrote-after-close", Severity::Info)]);
}

#[test]
fn what_is_rare_is_a_warning() {
    let lost = held(is_reset(client(1), 77), false);
    let clean = (0..99).map(|_| client(1));
    let of_100 = found(clean.clone().chain([lost.clone()]));
    assert_eq!(ids(&of_100), [("lost-after-close", Severity::Problem)]);
    let of_101 = found(clean.chain([client(1), lost]));
    assert_eq!(ids(&of_101), [("lost-after-close", Severity::Warning)]);
}

#[test]
fn a_program_on_many_ports_is_one_finding() {
    let on = |port: u16| {
        let mut ending = unread_of(resets(server(1), Reason::ABORT_ON_CLOSE), 50);
        ending.tuple.local.port = port;
        ending
    };
    assert_eq!(found([1, 2, 3].map(on)).len(), 3);
    let many = found([1, 2, 3, 4].map(on));
    assert_eq!((many.len(), many[0].count), (1, 4));
    assert_eq!(many[0].ports, [1, 2, 3, 4]);
}

#[test]
fn an_abort_that_was_asked_for_is_no_problem() {
    let abort = resets(client(1), Reason::STATE);
    assert_eq!(
        ids(&found([abort.clone()])),
        [("aborted-by-linger-zero", Severity::Info)]
    );
    let costs = lost_of(abort, 9);
    assert_eq!(
        ids(&found([costs])),
        [("aborted-by-linger-zero", Severity::Warning)]
    );
}

#[test]
fn clean_ends_are_not_told_of() {
    let ends = (1..100).flat_map(|port| [server(port), client(port)]);
    assert_eq!(found(ends), []);
    // Nor a connection that the peer reset, and its process was told.
    for lost in [0, 500] {
        // An RST without a FIN before it: nobody wrote after a close.
        let told = held(is_reset(server(1), lost), true);
        assert_eq!(found([told]), []);
    }
}

/// The kernel gave it up, and its process learned that from an error, or knows nothing yet.
fn given_up(ending: Ending, lost: u64) -> Ending {
    Ending {
        fate: Some(Fate::Failed),
        error: Some(lastbyte::Errno::from_raw(libc::ETIMEDOUT)),
        closer: None,
        closed_first: None,
        ..lost_of(ending, lost)
    }
}

#[test]
fn a_peer_that_fell_silent_is_found_whoever_noticed_and_how() {
    let silent = ("peer-silent", Severity::Warning);
    // Retransmissions were not answered; nothing had been sent, and keepalive was not answered.
    assert_eq!(ids(&found([given_up(client(1), 300)])), [silent]);
    let keepalive = Ending {
        rst: resets(client(1), Reason::KEEPALIVE_TIMEOUT).rst,
        ..given_up(client(1), 0)
    };
    assert_eq!(ids(&found([keepalive])), [silent]);
    let of_server = found([given_up(server(1), 0)]);
    assert_eq!(ids(&of_server), [("peer-silent", Severity::Info)]);
    assert_eq!(
        of_server[0].what,
        "pid 80 `httpd` (server, port 80) lost 1 connection to silence: the client no longer \
         answered, and the kernel gave up"
    );
    // After close() had returned 0 it is a loss that nobody was left to be told of.
    let untold = Ending {
        closer: client(1).owner,
        ..held(given_up(client(1), 300), false)
    };
    let lost = [("lost-after-close", Severity::Problem)];
    assert_eq!(ids(&found([untold])), lost);
    // Whoever destroys connections (ss -K) is no silent peer.
    let destroyed = Ending {
        rst: resets(client(1), Reason::DESTROYED).rst,
        ..given_up(client(1), 300)
    };
    assert_eq!(found([destroyed]), []);
}

#[test]
fn sentences_about_closes() {
    let mut race = is_reset(client(9), 50);
    race.manner.peer_closed = Some(true);
    let mut proxy = resets(client(8), Reason::TIMEWAIT_SOCKET);
    proxy.manner.half_closed = Some(true);
    let told = [
        found([
            unread_of(resets(server(1), Reason::ABORT_ON_CLOSE), 44_000),
            held(is_reset(client(1), 255_000), false),
        ]),
        found([held(is_reset(client(1), 77), false)]),
        found([unread_of(resets(client(1), Reason::ABORT_ON_CLOSE), 31)]),
        found([resets(server(9), Reason::TIMEWAIT_SOCKET), race.clone()]),
        found([race]),
        found([proxy, is_reset(server(8), 100_000)]),
        found([lost_of(resets(client(1), Reason::STATE), 9)]),
        found([given_up(client(1), 300)]),
    ];
    insta::assert_snapshot!(crate::doctor::snapshots::text(&told.concat()));
}
