//! What is written down of connections that the kernel closes.

use super::*;
use lastbyte_run_protocol::Kind;
use lastbyte_tcp::TcpInfo;

const OWN: Sender = Sender {
    process: 10,
    user: 0,
};
const OTHER: Sender = Sender {
    process: 20,
    user: 33,
};

fn ends() -> Option<[SocketAddr; 2]> {
    Some(["127.0.0.1:80", "127.0.0.1:5000"].map(|text| text.parse().expect("an address")))
}

fn opened(cookie: u64) -> Request {
    let mut request = Request::new(Kind::Opened, 5);
    request.cookie = cookie;
    request
}

fn closes(cookie: u64, left: Option<Reason>) -> Request {
    let mut request = Request::new(Kind::Closes, 5);
    request.cookie = cookie;
    request.left = left;
    request.state = 1;
    request.began = 1000;
    request
}

/// 40 bytes of 50 and no FIN are acknowledged, or all of them with a FIN.
fn notice(cookie: u64, all: bool) -> Notice {
    let mut bytes = [0; 240];
    let acked: u64 = if all { 51 } else { 40 };
    bytes[68..72].copy_from_slice(&1_u32.to_ne_bytes());
    bytes[120..128].copy_from_slice(&acked.to_ne_bytes());
    bytes[200..208].copy_from_slice(&50_u64.to_ne_bytes());
    Notice {
        cookie,
        rqueue: 0,
        wqueue: if all { 0 } else { 10 },
        info: TcpInfo::from_bytes(&bytes),
    }
}

fn left((_, known): Ended) -> Left {
    match known {
        Known::Left(left) => left,
        Known::Report(report) => panic!("the kernel closed it: {report:?}"),
    }
}

fn tally(connections: &Connections, reason: Reason) -> Option<Tally> {
    connections.left().get(&reason.index()).copied()
}

#[test]
fn a_connection_that_nobody_closed_is_left_to_the_kernel_with_its_loss() {
    let mut connections = Connections::default();
    connections.opened(&opened(7), OWN, ends());
    assert!(connections.knows(7) && !connections.knows(8));
    let ended = connections.destroyed(&notice(7, false), 0, |pid| {
        assert_eq!(pid, 10);
        Reason::Ended
    });
    let line = left(ended.expect("a line"));
    assert_eq!(
        (line.lost, line.elapsed, line.fate),
        (Some(10), None, Fate::Detached)
    );
    assert_eq!(line.left, Some(Reason::Ended.reason()));
    let tally = tally(&connections, Reason::Ended).expect("counted");
    assert_eq!((tally.closes, tally.lost.known), (1, 10));
    assert!(
        connections
            .destroyed(&notice(7, false), 0, |_| Reason::Ended)
            .is_none()
    );
}

#[test]
fn a_close_that_is_right_is_a_line_and_nothing_was_left() {
    let mut connections = Connections::default();
    connections.opened(&opened(7), OWN, ends());
    assert!(
        connections
            .closes(&closes(7, None), OWN, || false)
            .is_none()
    );
    let ended = connections.destroyed(&notice(7, true), 3_001_000, |_| Reason::Unseen);
    let line = left(ended.expect("a line"));
    assert_eq!((line.fate, line.left), (Fate::Delivered, None));
    assert_eq!(line.elapsed, Some(Duration::from_millis(3)));
    assert_eq!(line.closed_first, Some("local"));
    assert!(connections.left().is_empty());
}

#[test]
fn what_was_lost_after_such_a_close_was_another_holders() {
    let mut connections = Connections::default();
    connections.opened(&opened(7), OWN, ends());
    connections.closes(&closes(7, None), OWN, || false);
    let ended = connections.destroyed(&notice(7, false), 0, |_| Reason::Unseen);
    assert_eq!(
        left(ended.expect("a line")).left,
        Some(Reason::Unseen.reason())
    );
}

#[test]
fn another_users_word_counts_only_if_it_holds_the_socket() {
    let mut connections = Connections::default();
    connections.opened(&opened(7), OWN, ends());
    connections.closes(&closes(7, Some(Reason::Full)), OTHER, || false);
    connections.half_closed(&closes(7, None), OTHER);
    let (origin, known) = connections
        .destroyed(&notice(7, false), 0, |_| Reason::Ended)
        .expect("a line");
    assert_eq!((origin.pid, origin.linger), (10, None));
    assert_eq!(left((origin, known)).left, Some(Reason::Ended.reason()));
    connections.opened(&opened(8), OWN, ends());
    connections.closes(&closes(8, Some(Reason::Full)), OTHER, || true);
    let (origin, _) = connections
        .destroyed(&notice(8, false), 0, |_| Reason::Ended)
        .expect("a line");
    assert_eq!(origin.pid, 20);
}

#[test]
fn of_what_the_kernel_did_not_confirm_nothing_is_known_but_that_it_was() {
    let mut connections = Connections::default();
    connections.opened(&opened(7), OTHER, None);
    let (origin, known) = connections
        .destroyed(&notice(7, false), 0, |_| Reason::Ended)
        .expect("a line");
    assert_eq!((origin.local, origin.remote), (None, None));
    assert_eq!(left((origin, known)).lost, None);
    assert_eq!(
        tally(&connections, Reason::Ended)
            .expect("counted")
            .lost
            .unknown,
        1
    );
    // Whoever is confirmed takes the place of one who is not.
    connections.opened(&opened(8), OTHER, None);
    connections.opened(&opened(8), OWN, ends());
    let (origin, _) = connections
        .destroyed(&notice(8, false), 0, |_| Reason::Ended)
        .expect("a line");
    assert_eq!(origin.pid, 10);
}

#[test]
fn what_was_handed_over_is_the_closers() {
    let mut connections = Connections::default();
    connections.opened(&opened(7), OWN, ends());
    connections.handed_over(7);
    assert!(!connections.knows(7));
}

#[test]
fn an_mptcp_connection_is_counted_once_and_by_its_inode() {
    let mut connections = Connections::default();
    let mut one = closes(7, Some(Reason::Mptcp));
    one.flags = flag::MPTCP;
    one.inode = 100;
    assert!(connections.closes(&one, OWN, || true).is_some());
    assert!(connections.closes(&one, OWN, || true).is_none());
    one.inode = 101;
    assert!(connections.closes(&one, OWN, || true).is_some());
    assert_eq!(
        tally(&connections, Reason::Mptcp).expect("counted").closes,
        2
    );
}

#[test]
fn a_socket_that_never_was_a_connection_is_none() {
    let mut connections = Connections::default();
    let mut never = closes(7, None);
    for state in [0, 2, 7, 10] {
        never.state = state;
        assert!(connections.closes(&never, OWN, || true).is_none());
    }
    never.state = 1;
    assert!(
        connections.closes(&never, OWN, || true).is_some(),
        "nobody announced it"
    );
    assert!(connections.left().is_empty());
}

#[test]
fn what_no_notice_came_for_is_unknown_and_what_lives_is_open() {
    let mut connections = Connections::default();
    connections.opened(&opened(1), OWN, ends());
    connections.opened(&opened(2), OTHER, ends());
    connections.opened(&opened(3), OWN, ends());
    connections.closes(&closes(3, None), OWN, || true);
    assert!(connections.is_settling(|_| true), "the third is closed");
    let mut lines = Vec::new();
    let open = connections.finish(|pid| pid == 10, |one| lines.push(left(one)));
    assert_eq!((open, lines.len()), (1, 2));
    assert!(lines.iter().all(|line| line.lost.is_none()));
    assert_eq!(
        tally(&connections, Reason::Ended).expect("counted").closes,
        1
    );
    assert!(!connections.is_settling(|_| false), "nothing is left");
}

#[test]
fn one_user_can_have_so_many_followed_and_no_more() {
    let mut connections = Connections::default();
    for cookie in 1..=MOST as u64 + 3 {
        connections.opened(&opened(cookie), OTHER, ends());
    }
    connections.opened(&opened(1 << 40), OWN, ends());
    assert!(connections.knows(1 << 40), "another user's");
    assert_eq!(connections.unfollowed(), 3);
    connections.handed_over(1);
    connections.opened(&opened(1 << 41), OTHER, ends());
    assert!(connections.knows(1 << 41), "there is room again");
}

#[test]
fn an_uncovered_programs_connections_are_counted_so() {
    let mut connections = Connections::default();
    connections.found(7, OWN, "x".to_owned(), ends().expect("two"));
    let ended = connections.destroyed(&notice(7, false), 0, |_| Reason::Ended);
    assert_eq!(
        left(ended.expect("a line")).left,
        Some(Reason::Uncovered.reason())
    );
}

#[test]
fn what_a_filter_kept_out_leaves_the_unread_input_unknown() {
    let unread = |trim_at_shutdown: u32, trim_at_close: u32| {
        let mut connections = Connections::default();
        connections.opened(&opened(7), OWN, ends());
        let mut request = closes(7, None);
        request.flags = trim_at_shutdown;
        connections.half_closed(&request, OWN);
        request.flags = trim_at_close;
        connections.closes(&request, OWN, || true);
        let ended = connections.destroyed(&notice(7, true), 0, |_| Reason::Unseen);
        left(ended.expect("a line")).unread
    };
    assert_eq!(unread(0, 0), Some(0));
    assert_eq!(unread(flag::CONNECTED, flag::CONNECTED), Some(0));
    assert_eq!(unread(flag::INPUT_IS_TRIMMED, 0), None);
    assert_eq!(unread(0, flag::INPUT_IS_TRIMMED), None);
}

/// Inodes and cookies are counted apart, so the same number is two sockets.
#[test]
fn an_mptcp_sockets_inode_is_nobodys_cookie() {
    let mut connections = Connections::default();
    connections.opened(&opened(7), OWN, ends());
    let mut mptcp = closes(9, Some(Reason::Mptcp));
    mptcp.flags = flag::MPTCP;
    mptcp.inode = 7;
    assert!(connections.closes(&mptcp, OWN, || true).is_some());
    assert!(connections.knows(7), "the other connection goes on");
    mptcp.inode = 6;
    assert!(connections.closes(&mptcp, OWN, || true).is_some());
}

#[test]
fn where_no_notice_comes_a_close_is_a_line_at_once_and_nothing_is_waited_for() {
    let mut connections = Connections::default();
    connections.set_deaf();
    connections.opened(&opened(7), OWN, ends());
    assert!(!connections.is_settling(|_| false));
    let ended = connections.closes(&closes(7, None), OWN, || true);
    let line = left(ended.expect("a line"));
    assert_eq!((line.fate, line.lost), (Fate::Detached, None));
    assert!(!connections.knows(7));
}
