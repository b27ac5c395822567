//! Linger::Wait on a blocking socket.

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use common::{fill, hung_up, pair, pair_on, read_all, reset};
use lastbyte::{CloseError, Errno, Fate, Linger, Policy, Side};

const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_slow_reader_gets_everything_and_then_eof() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for ours_connects in [true, false] {
            let (connecting, accepted) = pair_on(address);
            let (ours, peer) = if ours_connects {
                (connecting, accepted)
            } else {
                (accepted, connecting)
            };
            let written = fill(&ours);
            let reader = thread::spawn(move || read_all(&peer));
            let report = lastbyte::close(ours, Linger::Wait(LONG)).unwrap();
            assert_eq!(report.fate, Fate::Delivered);
            assert_eq!(report.acked, Some(written));
            assert_eq!(report.lost, Some(0));
            assert_eq!(report.unsent, Some(0));
            assert_eq!(report.unread, Some(0));
            assert_eq!(report.rst_sent, Some(false));
            assert_eq!(report.closed_first, Some(Side::Local));
            assert_eq!(report.error, None);
            let (got, end) = reader.join().unwrap();
            assert_eq!(got, written);
            end.unwrap();
        }
    }
}

#[test]
fn a_timeout_discards_resets_and_counts() {
    for ours_connects in [true, false] {
        let (connecting, accepted) = pair();
        let (ours, peer) = if ours_connects {
            (connecting, accepted)
        } else {
            (accepted, connecting)
        };
        let written = fill(&ours);
        let began = Instant::now();
        let error = lastbyte::close(ours, Linger::Wait(Duration::from_millis(300))).unwrap_err();
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(300), "{took:?}");
        let report = error.report().unwrap();
        assert_eq!(report.fate, Fate::TimedOut);
        assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
        assert!(report.unsent.unwrap() <= report.lost.unwrap());
        assert!(report.unsent.unwrap() > 0);
        assert_eq!(report.rst_sent, Some(true));
        let (got, end) = read_all(&peer);
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        // The peer's TCP has at least what it acknowledged.
        assert!(got >= report.acked.unwrap());
        let report = *report;
        let error = std::io::Error::from(error);
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(Errno::of(&error), Some(Errno::EWOULDBLOCK));
        // `?` loses nothing.
        let error = error.downcast::<CloseError>().unwrap();
        assert_eq!(error.report(), Some(&report));
    }
}

#[test]
fn a_reset_ends_the_wait() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let closer = thread::spawn(move || lastbyte::close(ours, Linger::Wait(LONG)));
    // Before or during the wait: our FIN cannot be acknowledged first, because
    // the peer does not read.
    reset(peer);
    let error = closer.join().unwrap().unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::Reset);
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    assert!(report.elapsed < LONG / 2);
    assert_eq!(report.error.unwrap().to_string(), "ECONNRESET");
}

#[test]
fn a_reset_before_the_call_is_told() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    reset(peer);
    let error = lastbyte::close(ours, Linger::Wait(LONG)).unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::Reset);
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
}

#[test]
fn unread_input_is_discarded_and_counted() {
    let (ours, mut peer) = pair();
    peer.write_all(&[1; 5000]).unwrap();
    let written = fill(&ours);
    let reader = thread::spawn(move || {
        peer.write_all(&[2; 7000]).unwrap();
        read_all(&peer)
    });
    let report = lastbyte::close(ours, Linger::Wait(LONG)).unwrap();
    assert_eq!(report.fate, Fate::Delivered);
    assert!((5000..=12000).contains(&report.unread.unwrap()));
    let (got, end) = reader.join().unwrap();
    end.unwrap();
    assert_eq!(got, written);
}

#[test]
fn a_stall_ends_the_wait_before_the_deadline() {
    let (ours, _peer) = pair();
    let written = fill(&ours);
    let policy = Policy::wait(LONG).with_stall(Duration::from_millis(200));
    let error = lastbyte::close(ours, policy).unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::Stalled);
    assert!(report.elapsed >= Duration::from_millis(200));
    assert!(report.elapsed < Duration::from_secs(5));
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
}

#[test]
fn confirm_waits_for_the_peers_own_close() {
    let (mut ours, peer) = pair();
    ours.write_all(b"hello").unwrap();
    let closer =
        thread::spawn(move || lastbyte::close(ours, Policy::wait(LONG).with_confirm(true)));
    let (got, end) = read_all(&peer);
    end.unwrap();
    assert_eq!(got, 5);
    assert!(!closer.is_finished(), "the peer has not closed yet");
    drop(peer);
    let report = closer.join().unwrap().unwrap();
    assert_eq!(report.fate, Fate::Confirmed);
    // Unknown where the closing thread slept through the whole end.
    assert_ne!(report.closed_first, Some(Side::Peer));
}

#[test]
fn a_peer_that_closed_first_is_said_to_have() {
    let (mut ours, peer) = pair();
    ours.write_all(b"hello").unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let report = lastbyte::close(ours, Linger::Wait(LONG)).unwrap();
    assert_eq!(report.closed_first, Some(Side::Peer));
    assert_eq!(read_all(&peer).0, 5);
}

#[test]
fn nothing_was_ever_written() {
    let (ours, _peer) = pair();
    let report = lastbyte::close(ours, Linger::Wait(LONG)).unwrap();
    assert_eq!((report.acked, report.lost), (Some(0), Some(0)));
}

#[test]
fn a_fin_that_left_with_the_last_data_was_delivered() {
    for accepted in [true, false] {
        for told in [true, false] {
            let (a, b) = pair();
            let (ours, peer) = if accepted { (b, a) } else { (a, b) };
            let written = fill(&ours);
            // Data is unsent: the FIN has no segment to itself.
            ours.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_all(&peer).0, written);
            drop(peer);
            assert!(hung_up(&ours, LONG));
            let policy = Policy::wait(LONG).with_confirm(true);
            let policy = if told {
                policy.with_shut_down(Shutdown::Write)
            } else {
                policy
            };
            let report = lastbyte::close(ours, policy).unwrap();
            assert_eq!(report.fate, Fate::Confirmed, "{accepted} {told} {report:?}");
            assert_eq!((report.acked, report.lost), (Some(written), Some(0)));
        }
    }
}

#[test]
fn a_reset_whose_error_was_taken_is_a_failure_without_a_reason() {
    for accepted in [true, false] {
        for half in [true, false] {
            if half && !accepted {
                // Looks like one that accepted and ended well; see
                // `Policy::with_shut_down`.
                continue;
            }
            let (a, b) = pair();
            let (ours, peer) = if accepted { (b, a) } else { (a, b) };
            (&ours).write_all(&[1; 1000]).unwrap();
            (&peer).read_exact(&mut [0; 1000]).unwrap();
            if half {
                peer.shutdown(Shutdown::Write).unwrap();
                assert_eq!(read_all(&ours).0, 0);
            }
            reset(peer);
            assert!(hung_up(&ours, LONG));
            ours.take_error().unwrap().unwrap();
            let error = lastbyte::close(ours, Policy::wait(LONG)).unwrap_err();
            let report = error.report().unwrap();
            assert_eq!(report.fate, Fate::Failed, "{accepted} {half} {report:?}");
            assert_eq!((report.error, report.rst_sent), (None, None));
            assert_eq!((report.acked, report.lost), (Some(1000), Some(0)));
        }
    }
}

/// With the program's filter locked in place no acknowledgement is kept out by one; the
/// counts stand still all the same, while the peer reads on.
#[test]
fn a_locked_filter_does_not_move_the_counts() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for _ in 0..20 {
            let (ours, peer) = common::pair_on(address);
            let written = fill(&ours);
            let on: libc::c_int = 1;
            // SAFETY: one int, of the length passed.
            let rc = unsafe {
                libc::setsockopt(
                    std::os::fd::AsRawFd::as_raw_fd(&ours),
                    libc::SOL_SOCKET,
                    libc::SO_LOCK_FILTER,
                    (&raw const on).cast(),
                    size_of_val(&on) as libc::socklen_t,
                )
            };
            assert_eq!(rc, 0);
            let report = thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    let mut buffer = [0; 3000];
                    let mut got = 0;
                    while let Ok(n @ 1..) = Read::read(&mut &peer, &mut buffer) {
                        got += n as u64;
                        thread::sleep(Duration::from_micros(200));
                    }
                    got
                });
                let result = lastbyte::close(ours, Policy::wait(Duration::from_millis(20)));
                let report = match result {
                    Ok(report) => report,
                    Err(error) => *error.report().unwrap(),
                };
                assert!(reader.join().unwrap() >= report.acked.unwrap());
                report
            });
            assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
        }
    }
}
