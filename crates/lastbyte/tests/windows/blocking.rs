use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use lastbyte::{Errno, Fate, Linger, Side, close};

use super::net::{self, LONG, WSAECONNRESET, fill, pair, read_all, reader, reset};

#[test]
fn on_and_0_returns_at_once_and_the_remote_recv_fails() {
    let (ours, mut peer) = pair();
    fill(&ours);
    let report = close(ours, Linger::Abort).expect("an abort succeeds");
    assert_eq!(report.fate, Fate::Aborted);
    assert_eq!(report.rst_sent, Some(true));
    // Windows does not count what is discarded.
    assert_eq!(
        (report.acked, report.lost, report.unsent),
        (None, None, None)
    );
    assert_eq!(read_all(&mut peer).1, Some(WSAECONNRESET));
}

#[test]
fn a_wait_ends_when_data_and_fin_are_acknowledged() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let reader = reader(peer);
    let report = close(ours, Linger::Wait(LONG)).expect("the peer reads");
    assert_eq!(
        (report.fate, report.lost, report.unsent),
        (Fate::Delivered, Some(0), Some(0))
    );
    // Not known where no look came between our FIN and the peer's.
    assert_ne!(report.closed_first, Some(Side::Peer));
    assert_eq!(report.rst_sent, Some(false));
    assert_eq!(reader.join().expect("no panic"), (written, None));
}

#[test]
fn a_wait_that_runs_out_of_time_fails_and_resets() {
    let (ours, mut peer) = pair();
    let written = fill(&ours);
    let time = Duration::from_millis(300);
    let error = close(ours, Linger::Wait(time)).expect_err("the peer does not read");
    let report = error.report().expect("it ended");
    assert_eq!(report.fate, Fate::TimedOut);
    assert_eq!(error.errno(), Some(Errno::EWOULDBLOCK));
    assert_eq!(error.errno().map(Errno::raw), Some(net::WSAEWOULDBLOCK));
    assert!(report.elapsed >= time, "{:?}", report.elapsed);
    assert_eq!((report.lost, report.rst_sent), (None, Some(true)));
    let (read, error) = read_all(&mut peer);
    assert!(read < written);
    assert_eq!(error, Some(WSAECONNRESET));
}

#[test]
fn a_wait_that_the_peer_resets_fails() {
    let (ours, peer) = pair();
    fill(&ours);
    let resetter = std::thread::spawn(move || reset(peer));
    let error = close(ours, Linger::Wait(LONG)).expect_err("the peer resets");
    assert_eq!(error.fate(), Some(Fate::Reset));
    assert_eq!(error.errno(), Some(Errno::ECONNRESET));
    assert_eq!(error.report().expect("it ended").rst_sent, Some(false));
    resetter.join().expect("no panic");
}

#[test]
fn a_reset_after_the_peers_own_fin_is_no_delivery() {
    let (ours, peer) = pair();
    fill(&ours);
    peer.shutdown(Shutdown::Write).expect("it is connected");
    let resetter = std::thread::spawn(move || {
        // The close has begun once its FIN, or more data, waits behind what is queued; there is
        // no event of that here. Whichever comes first, nothing more is acknowledged.
        reset(peer);
    });
    let error = close(ours, Linger::Wait(LONG)).expect_err("the peer resets");
    assert!(error.fate() != Some(Fate::Delivered), "{error}");
    assert_eq!(error.report().expect("it ended").lost, None);
    resetter.join().expect("no panic");
}

#[test]
fn input_that_arrives_during_the_wait_is_discarded_and_counted() {
    let (ours, mut peer) = pair();
    let written = fill(&ours);
    peer.write_all(b"unread").expect("there is room");
    let reader = std::thread::spawn(move || {
        let mut sender = peer.try_clone().expect("a handle");
        sender.write_all(b"late").expect("there is room");
        read_all(&mut peer)
    });
    let report = close(ours, Linger::Wait(LONG)).expect("the peer reads");
    assert_eq!((report.fate, report.lost), (Fate::Delivered, Some(0)));
    assert_eq!(report.unread, Some(10));
    assert_eq!(reader.join().expect("no panic"), (written, None));
}

#[test]
fn of_a_reset_that_a_read_has_taken_no_count_is_reported() {
    let (mut ours, peer) = pair();
    fill(&ours);
    reset(peer);
    assert_eq!(read_all(&mut ours), (0, Some(WSAECONNRESET)));
    let error = close(ours, Linger::Wait(LONG)).expect_err("it was reset");
    let report = error.report().expect("it ended");
    assert!(
        matches!(report.fate, Fate::Failed | Fate::Reset),
        "{report}"
    );
    assert_eq!(
        (report.acked, report.lost, report.unsent),
        (None, None, None)
    );
}
