//! Many endings on one thread.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use common::{fill, pair, read_all, reset};
use lastbyte::{Closer, Fate, Linger, Policy};

const LONG: Duration = Duration::from_secs(20);

/// Row F1 in small: delivered, timed out and reset in one, each with its own
/// deadline, each exact.
#[test]
fn every_report_is_exact_and_every_deadline_kept() {
    mixed(&Closer::new().unwrap());
}

#[cfg(feature = "io-uring")]
#[test]
fn the_same_with_io_uring() {
    use lastbyte::CloserBackend;
    let closer = Closer::builder()
        .backend(CloserBackend::IoUring)
        .build()
        .unwrap();
    // Where the kernel has none, epoll has shown the same above.
    println!("{:?}", closer.backend());
    mixed(&closer);
}

fn mixed(closer: &Closer) {
    const EACH: u32 = 30;
    let (send, reports) = mpsc::channel();
    let mut written = HashMap::new();
    let mut peers: Vec<(u32, TcpStream)> = Vec::new();
    let mut socks = Vec::new();
    for id in 0..3 * EACH {
        let (ours, peer) = pair();
        written.insert(id, fill(&ours));
        peers.push((id, peer));
        socks.push((id, ours));
    }
    for (id, ours) in socks {
        let time = match id % 3 {
            1 => Duration::from_millis(u64::from(200 + id)),
            _ => LONG,
        };
        let send = send.clone();
        closer
            .close(ours, Linger::Wait(time), move |result| {
                send.send((id, result)).unwrap();
            })
            .unwrap();
    }
    let mut quiet = Vec::new();
    for (id, peer) in peers {
        match id % 3 {
            0 => {
                let (got, end) = read_all(&peer);
                end.unwrap();
                assert_eq!(got, written[&id]);
            }
            1 => quiet.push(peer),
            _ => reset(peer),
        }
    }
    for (id, result) in reports.iter().take(3 * EACH as usize) {
        let report = match &result {
            Ok(report) => report,
            Err(error) => error.report().unwrap(),
        };
        let expected = [Fate::Delivered, Fate::TimedOut, Fate::Reset][id as usize % 3];
        assert_eq!(report.fate, expected, "{report:?}");
        assert_eq!(
            report.acked.unwrap() + report.lost.unwrap(),
            written[&id],
            "{report:?}"
        );
        if expected == Fate::TimedOut {
            assert!(report.elapsed >= Duration::from_millis(u64::from(200 + id)));
        }
    }
    assert!(closer.wait_idle(LONG));
    assert_eq!(closer.in_flight(), 0);
}

#[test]
fn at_the_limit_the_socket_comes_back() {
    let closer = Closer::builder().limit(1).build().unwrap();
    let (first, _peer) = pair();
    fill(&first);
    closer.close(first, Policy::wait(LONG), |_| {}).unwrap();
    let (second, peer) = pair();
    let written = fill(&second);
    let error = closer
        .close(second, Policy::wait(LONG), |_| unreachable!("no place"))
        .unwrap_err();
    assert_eq!(error.errno().unwrap().raw(), libc::EAGAIN);
    // Untouched: it can be closed in another way.
    let second = error.into_socket().unwrap();
    let reader = std::thread::spawn(move || read_all(&peer));
    let report = lastbyte::close(second, Linger::Wait(LONG)).unwrap();
    assert_eq!(report.acked, Some(written));
    assert_eq!(reader.join().unwrap().0, written);
}

#[test]
fn dropped_it_finishes_what_it_has() {
    let closer = Closer::new().unwrap();
    let (ours, peer) = pair();
    let written = fill(&ours);
    let (send, report) = mpsc::channel();
    closer
        .close(ours, Linger::Off, move |r| send.send(r).unwrap())
        .unwrap();
    drop(closer);
    assert_eq!(read_all(&peer).0, written);
    let report = report.recv_timeout(LONG).unwrap().unwrap();
    assert_eq!(
        (report.fate, report.acked),
        (Fate::Delivered, Some(written))
    );
}

/// Row F3.
#[test]
fn a_drain_tells_each_connection_and_the_sums() {
    let closer = Closer::new().unwrap();
    let (send, reports) = mpsc::channel();
    let (mut readers, mut idle, mut written) = (Vec::new(), Vec::new(), 0);
    for i in 0..12 {
        let (ours, peer) = pair();
        written += fill(&ours);
        let send = send.clone();
        closer
            .close(ours, Policy::wait(LONG), move |r| send.send(r).unwrap())
            .unwrap();
        if i % 2 == 0 {
            readers.push(std::thread::spawn(move || read_all(&peer).0));
        } else {
            idle.push(peer);
        }
    }
    let time = Duration::from_millis(500);
    let began = std::time::Instant::now();
    let drained = closer.drain(time);
    assert!(began.elapsed() >= time);
    let in_flight = drained.endings.len();
    // The callbacks were called too, all of them.
    let told: Vec<_> = reports.try_iter().collect();
    assert_eq!(told.len(), 12);
    let delivered: u64 = told.iter().flatten().map(|r| r.acked.unwrap()).sum();
    // A reader may have been done before the drain began.
    let mut sums = drained.before;
    sums += drained.sums;
    assert_eq!(sums, closer.sums());
    assert_eq!(
        (sums.connections, sums.delivered, sums.timed_out),
        (12, 6, 6)
    );
    assert_eq!(drained.sums.timed_out, 6);
    assert_eq!(
        sums.acked.exact().unwrap() + sums.lost.exact().unwrap(),
        written
    );
    let read: u64 = readers.into_iter().map(|r| r.join().unwrap()).sum();
    assert_eq!(read, delivered);
    for peer in &idle {
        let address = peer.local_addr().unwrap();
        let ended = drained
            .endings
            .iter()
            .find(|ended| ended.connection.peer == Some(address))
            .unwrap();
        assert_eq!(ended.report.fate, Fate::TimedOut);
    }
    // No further connections.
    let (ours, _peer) = pair();
    assert!(closer.close(ours, Linger::Abort, |_| {}).is_err());
    // A second drain tells the same.
    let again = closer.drain(time);
    assert_eq!((again.error, again.endings.len()), (None, in_flight));
    assert_eq!(closer.sums().connections, 12);
}

#[test]
fn a_callback_that_panics_harms_nobody_else() {
    let closer = Closer::new().unwrap();
    let (send, report) = mpsc::channel();
    for panics in [true, false] {
        let (ours, _peer) = pair();
        let send = send.clone();
        closer
            .close(ours, Linger::Abort, move |r| {
                assert!(!panics, "as this test wants it");
                send.send(r).unwrap();
            })
            .unwrap();
    }
    assert_eq!(
        report.recv_timeout(LONG).unwrap().unwrap().fate,
        Fate::Aborted
    );
}

/// An abort needs no waiting: it does not stand behind what the closer's thread does. The
/// peer's error is the oracle.
#[test]
fn an_abort_has_happened_when_the_call_returns() {
    let closer = Closer::new().unwrap();
    let (ours, _peer) = pair();
    let (busy, is_busy) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    closer
        .close(ours, Policy::abort(), move |_| {
            busy.send(()).unwrap();
            let _ = goes_on.recv_timeout(LONG);
        })
        .unwrap();
    is_busy.recv_timeout(LONG).unwrap();

    let (ours, peer) = pair();
    let written = fill(&ours);
    let (send, reports) = mpsc::channel();
    closer
        .close(ours, Policy::abort(), move |result| {
            send.send(result).unwrap();
        })
        .unwrap();
    let (_, end) = read_all(&peer);
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(reports.try_recv().is_err(), "the thread is busy still");
    go_on.send(()).unwrap();
    let report = reports.recv_timeout(LONG).unwrap().unwrap();
    assert_eq!(report.fate, Fate::Aborted);
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    assert_eq!(closer.sums().aborted, 1 + 1);
}

/// What is no connection is refused through the callback, and at the limit and after a
/// drain the socket comes back untouched, where the policy is an abort too.
#[test]
fn an_abort_is_refused_as_every_other_close() {
    let closer = Closer::builder().limit(0).build().unwrap();
    let (ours, peer) = pair();
    let error = closer.close(ours, Policy::abort(), |_| {}).unwrap_err();
    assert_eq!(error.errno().unwrap().raw(), libc::EAGAIN);
    drop(error.into_socket().unwrap());
    read_all(&peer).1.unwrap();

    let closer = Closer::new().unwrap();
    let (send, results) = mpsc::channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _ = closer.close(listener, Policy::abort(), move |result| {
        send.send(result.map(|_| ()).map_err(|error| error.refusal()))
            .unwrap();
    });
    let refused = results.recv_timeout(LONG).unwrap();
    assert_eq!(refused, Err(Some(lastbyte::Refusal::Listening)));

    let _ = closer.drain(Duration::ZERO);
    let (ours, peer) = pair();
    let error = closer.close(ours, Policy::abort(), |_| {}).unwrap_err();
    drop(error.into_socket().unwrap());
    read_all(&peer).1.unwrap();
}

/// The report has what had come by the fate; the count has what came until the peer closed
/// as well. The oracle is what the peer sent.
#[test]
fn late_input_is_counted_to_the_end() {
    let closer = Closer::new().unwrap();
    let (ours, mut peer) = pair();
    peer.write_all(&[1; 1000]).unwrap();
    assert!(common::readable(&ours, LONG));
    let (send, reports) = mpsc::channel();
    let (count, counts) = mpsc::channel();
    closer
        .close_counting_input(ours, Policy::off(), move |result| {
            send.send(result).unwrap();
            move |bytes| count.send(bytes).unwrap()
        })
        .unwrap();
    let report = reports.recv_timeout(LONG).unwrap().unwrap();
    assert_eq!((report.fate, report.unread), (Fate::Delivered, Some(1000)));
    assert!(counts.try_recv().is_err(), "the peer may still send");
    peer.write_all(&[2; 5000]).unwrap();
    drop(peer);
    assert_eq!(counts.recv_timeout(LONG).unwrap(), Some(6000));

    // What is over at once is counted at once, and what is no connection never.
    let (ours, _peer) = pair();
    let (count, counts) = mpsc::channel();
    closer
        .close_counting_input(ours, Policy::abort(), move |_| {
            move |bytes| count.send(bytes).unwrap()
        })
        .unwrap();
    assert_eq!(counts.recv_timeout(LONG).unwrap(), Some(0));
    let (count, counts) = mpsc::channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _ = closer.close_counting_input(listener, Policy::off(), move |_| {
        move |bytes| count.send(bytes).unwrap()
    });
    assert_eq!(counts.recv_timeout(LONG).unwrap(), None);
}
