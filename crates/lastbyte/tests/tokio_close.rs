//! `lastbyte::on_tokio::close`: each fate, awaited; and what a dropped future does.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::future::Future;
use std::io::Write;
use std::net::TcpStream as Std;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use common::{fill, pair, read_all, reset};
use lastbyte::{Fate, Linger, Policy, Refusal, Side};
use tokio::net::TcpStream;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(250);

fn adopt(stream: Std) -> TcpStream {
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

#[tokio::test]
async fn delivered_as_soon_as_the_peer_has_taken_it() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let closing = lastbyte::on_tokio::close(adopt(ours), Policy::wait(LONG));
    let reader = std::thread::spawn(move || read_all(&peer));
    let report = closing.await.unwrap();
    assert_eq!(report.fate, Fate::Delivered);
    assert_eq!((report.acked, report.lost), (Some(written), Some(0)));
    assert_eq!(report.closed_first, Some(Side::Local));
    let (got, end) = reader.join().unwrap();
    end.unwrap();
    assert_eq!(got, written);
}

/// The last ACK comes when both FINs have passed, and tokio's own readiness
/// stays set by then.
#[tokio::test]
async fn delivered_after_the_peer_closed_first() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let ours = adopt(ours);
    ours.readable().await.unwrap();
    let closing = lastbyte::on_tokio::close(ours, Policy::wait(LONG));
    let mut closing = pin!(closing);
    // It waits for the peer, and asleep: 50 looks at most while nothing happens.
    let polls = polls_within(closing.as_mut(), SHORT).await;
    assert!(polls < 50, "{polls} polls while nothing happened");
    let reader = std::thread::spawn(move || read_all(&peer));
    let report = closing.await.unwrap();
    assert_eq!(report.fate, Fate::Delivered);
    assert_eq!(report.acked, Some(written));
    assert_eq!(report.closed_first, Some(Side::Peer));
    assert_eq!(reader.join().unwrap().0, written);
}

/// How often `future` was polled without being ready.
async fn polls_within<F: Future>(mut future: std::pin::Pin<&mut F>, time: Duration) -> usize {
    let mut polls = 0;
    let waiting = std::future::poll_fn(|cx| {
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => panic!("it had nothing to be ready for"),
            Poll::Pending => Poll::<()>::Pending,
        }
    });
    assert!(tokio::time::timeout(time, waiting).await.is_err());
    polls
}

#[tokio::test]
async fn asleep_until_something_happens() {
    let (ours, peer) = pair();
    fill(&ours);
    let mut closing = pin!(lastbyte::on_tokio::close(adopt(ours), Policy::wait(LONG)));
    let polls = polls_within(closing.as_mut(), SHORT).await;
    assert!(polls < 50, "{polls} polls while nothing happened");
    drop(peer);
    assert_eq!(closing.await.unwrap_err().fate(), Some(Fate::Reset));
}

#[tokio::test]
async fn confirmed_when_the_peer_closes_too() {
    let (ours, peer) = pair();
    (&ours).write_all(b"hello").unwrap();
    let closing = lastbyte::on_tokio::close(adopt(ours), Policy::wait(LONG).with_confirm(true));
    let peer = std::thread::spawn(move || read_all(&peer));
    let report = closing.await.unwrap();
    assert_eq!(report.fate, Fate::Confirmed);
    assert_eq!(report.acked, Some(5));
    assert_eq!(peer.join().unwrap().0, 5);
}

#[tokio::test]
async fn timed_out_with_every_byte_accounted_for() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let error = lastbyte::on_tokio::close(adopt(ours), Policy::wait(SHORT))
        .await
        .unwrap_err();
    let report = *error.report().unwrap();
    assert_eq!(report.fate, Fate::TimedOut);
    assert!(report.elapsed >= SHORT);
    assert_eq!(report.rst_sent, Some(true));
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    assert_eq!(
        std::io::Error::from(error).kind(),
        std::io::ErrorKind::WouldBlock
    );
    let (got, end) = read_all(&peer);
    assert_eq!(got, report.acked.unwrap());
    assert!(end.is_err());
}

#[tokio::test]
async fn reset_by_the_peer() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let closing = lastbyte::on_tokio::close(adopt(ours), Policy::wait(LONG));
    reset(peer);
    let error = closing.await.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::Reset);
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    assert!(report.elapsed < LONG / 2);
}

#[tokio::test]
async fn aborted_at_once() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let report = lastbyte::on_tokio::close(adopt(ours), Linger::Abort)
        .await
        .unwrap();
    assert_eq!(report.fate, Fate::Aborted);
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    assert!(read_all(&peer).1.is_err());
}

#[tokio::test]
async fn off_is_detached_and_delivered() {
    let (ours, mut peer) = pair();
    peer.write_all(&[1; 10_000]).unwrap();
    let written = fill(&ours);
    let report = lastbyte::on_tokio::close(adopt(ours), Linger::Off)
        .await
        .unwrap();
    assert_eq!(report.fate, Fate::Detached);
    assert_eq!(report.lost, None);
    let (got, end) = read_all(&peer);
    end.unwrap();
    assert_eq!(got, written);
}

#[tokio::test]
async fn unread_and_late_input_is_discarded_and_counted() {
    let (ours, mut peer) = pair();
    peer.write_all(&[1; 10_000]).unwrap();
    let written = fill(&ours);
    let closing = lastbyte::on_tokio::close(adopt(ours), Policy::wait(LONG));
    peer.write_all(&[2; 5_000]).unwrap();
    let reader = std::thread::spawn(move || {
        let result = read_all(&peer);
        // Late, and not answered by an RST.
        peer.write_all(&[3; 5_000]).unwrap();
        result
    });
    let report = closing.await.unwrap();
    assert_eq!(report.fate, Fate::Delivered);
    assert!(report.unread >= Some(15_000), "{report}");
    let (got, end) = reader.join().unwrap();
    end.unwrap();
    assert_eq!(got, written);
}

#[tokio::test]
async fn any_owner_of_a_connection_will_do() {
    for how in 0..2 {
        let (ours, peer) = pair();
        let written = fill(&ours);
        let policy = Policy::wait(LONG);
        let closing = match how {
            0 => lastbyte::on_tokio::close(ours, policy),
            _ => lastbyte::on_tokio::close(OwnedFd::from(ours), policy),
        };
        let reader = std::thread::spawn(move || read_all(&peer));
        assert_eq!(closing.await.unwrap().acked, Some(written));
        assert_eq!(reader.join().unwrap().0, written);
    }
}

#[tokio::test]
async fn what_is_no_connection_is_given_back() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = lastbyte::on_tokio::close(OwnedFd::from(file), Policy::wait(LONG))
        .await
        .unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::NotASocket));
    assert!(error.into_socket().is_ok());
}

#[tokio::test]
async fn dropped_at_any_time_it_goes_on_to_delivery() {
    for polls in 0..3 {
        let (ours, mut peer) = pair();
        peer.write_all(&[1; 1000]).unwrap();
        let written = fill(&ours);
        {
            let mut closing = pin!(lastbyte::on_tokio::close(adopt(ours), Policy::wait(LONG)));
            for _ in 0..polls {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(closing.as_mut().poll(&mut cx).is_pending());
            }
        }
        let (got, end) = read_all(&peer);
        end.unwrap();
        assert_eq!(got, written);
    }
}

#[tokio::test]
async fn dropped_it_goes_on_to_its_deadline() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let began = Instant::now();
    drop(lastbyte::on_tokio::close(adopt(ours), Policy::wait(SHORT)));
    // The peer reads nothing; the reset wakes it at the deadline.
    let peer = adopt(peer);
    peer.ready(tokio::io::Interest::ERROR).await.unwrap();
    assert!(began.elapsed() >= SHORT);
    let peer = peer.into_std().unwrap();
    peer.set_nonblocking(false).unwrap();
    let (got, end) = read_all(&peer);
    assert!(end.is_err());
    assert!(got < written);
}

/// The runtime goes while endings are under way.
#[test]
fn a_runtime_that_ends_loses_nothing() {
    let mut peers = Vec::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..50 {
        let (ours, mut peer) = pair();
        peer.write_all(&[1; 1000]).unwrap();
        let written = fill(&ours);
        let _inside = runtime.enter();
        runtime.spawn(lastbyte::on_tokio::close(adopt(ours), Policy::wait(LONG)));
        peers.push((peer, written));
    }
    drop(runtime);
    for (peer, written) in peers {
        let (got, end) = read_all(&peer);
        end.unwrap();
        assert_eq!(got, written);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_each_with_its_own_fate() {
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..300 {
        tasks.spawn(async move {
            let (ours, peer) = pair();
            let written = fill(&ours);
            let time = if i % 3 == 0 { SHORT } else { LONG };
            let closing = lastbyte::on_tokio::close(adopt(ours), Policy::wait(time));
            match i % 3 {
                0 => {
                    let report = *closing.await.unwrap_err().report().unwrap();
                    assert_eq!(report.fate, Fate::TimedOut);
                    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
                    drop(peer);
                }
                1 => {
                    let reading = tokio::task::spawn_blocking(move || read_all(&peer).0);
                    assert_eq!(closing.await.unwrap().acked, Some(written));
                    assert_eq!(reading.await.unwrap(), written);
                }
                _ => {
                    reset(peer);
                    assert_eq!(closing.await.unwrap_err().fate(), Some(Fate::Reset));
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
