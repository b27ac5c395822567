//! `lastbyte::on_tokio::Stream`: what passes through, and what a drop does.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::io::{IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream as Std};
use std::time::Duration;

use common::{fill, pair, read_all};
use lastbyte::on_tokio::Stream;
use lastbyte::{Fate, Linger, Policy, Side};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(250);

fn stream(std: Std, policy: impl Into<Policy>) -> Stream {
    std.set_nonblocking(true).unwrap();
    Stream::new(TcpStream::from_std(std).unwrap(), policy)
}

#[tokio::test]
async fn dropped_with_unread_input_it_delivers_everything_then_eof() {
    for policy in [Policy::off(), Policy::wait(LONG)] {
        let (ours, mut peer) = pair();
        peer.write_all(&[1; 100_000]).unwrap();
        let written = fill(&ours);
        drop(stream(ours, policy));
        let reading = tokio::task::spawn_blocking(move || {
            // More of what nobody will read.
            peer.write_all(&[2; 100_000]).unwrap();
            read_all(&peer)
        });
        let (got, end) = reading.await.unwrap();
        end.unwrap();
        assert_eq!(got, written);
    }
}

#[tokio::test]
async fn a_peer_that_goes_on_sending_after_delivery_is_not_reset() {
    let (ours, mut peer) = pair();
    let mut ours = stream(ours, Policy::off());
    ours.write_all(b"no, thanks").await.unwrap();
    ours.shutdown().await.unwrap();
    drop(ours);
    let sending = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        // Data and FIN were acknowledged long ago, and nothing was under way.
        std::thread::sleep(SHORT);
        for _ in 0..50 {
            peer.write_all(&[0; 100_000])?;
        }
        peer.shutdown(Shutdown::Write)?;
        std::io::Result::Ok(answer)
    });
    assert_eq!(sending.await.unwrap().unwrap(), "no, thanks");
}

#[tokio::test]
async fn input_is_discarded_for_the_drain_time_and_no_longer() {
    let (ours, mut peer) = pair();
    drop(stream(ours, Policy::off().with_drain_time(SHORT)));
    let sending = tokio::task::spawn_blocking(move || {
        let began = std::time::Instant::now();
        loop {
            if let Err(error) = peer.write_all(&[0; 1000]) {
                return (began.elapsed(), error);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let (after, error) = sending.await.unwrap();
    assert!(after >= SHORT, "{error} after {after:?}");
}

#[tokio::test]
async fn half_closed_it_can_still_read() {
    let (ours, mut peer) = pair();
    let mut ours = stream(ours, Policy::wait(LONG));
    ours.write_all(b"question").await.unwrap();
    ours.shutdown().await.unwrap();
    let answering = tokio::task::spawn_blocking(move || {
        let mut question = String::new();
        peer.read_to_string(&mut question).unwrap();
        assert_eq!(question, "question");
        peer.write_all(b"answer").unwrap();
        peer
    });
    let mut answer = [0; 6];
    ours.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"answer");
    assert!(ours.write_all(b"more").await.is_err());
    let peer = answering.await.unwrap();
    let report = ours.close().await.unwrap();
    assert_eq!(report.fate, Fate::Delivered);
    assert_eq!(report.acked, Some(8));
    assert_eq!(report.closed_first, Some(Side::Local));
    drop(peer);
}

#[tokio::test]
async fn counts_are_exact_after_a_half_close_and_a_reset() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let mut ours = stream(ours, Policy::wait(LONG));
    ours.shutdown().await.unwrap();
    common::reset(peer);
    ours.get_ref()
        .ready(tokio::io::Interest::ERROR)
        .await
        .unwrap();
    let error = ours.close().await.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::Reset);
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
}

#[tokio::test]
async fn vectored_writes_pass_through() {
    let (ours, peer) = pair();
    let mut ours = stream(ours, Policy::wait(LONG));
    assert!(ours.is_write_vectored());
    let parts = [
        IoSlice::new(b"the "),
        IoSlice::new(b"last "),
        IoSlice::new(b"byte"),
    ];
    // One system call, so all of it or an error.
    assert_eq!(ours.write_vectored(&parts).await.unwrap(), 13);
    assert_eq!(ours.close().await.unwrap().acked, Some(13));
    assert_eq!(read_all(&peer).0, 13);
}

#[tokio::test]
async fn closing_with_off_is_awaited() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let closing = stream(ours, Linger::Off).close();
    let reading = tokio::task::spawn_blocking(move || read_all(&peer).0);
    let report = closing.await.unwrap();
    assert_eq!(report.fate, Fate::Delivered);
    assert_eq!(report.acked, Some(written));
    assert_eq!(reading.await.unwrap(), written);
}

#[tokio::test]
async fn dropped_it_keeps_its_deadline() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let began = std::time::Instant::now();
    drop(stream(ours, Policy::wait(SHORT)));
    peer.set_nonblocking(true).unwrap();
    let peer = TcpStream::from_std(peer).unwrap();
    peer.ready(tokio::io::Interest::ERROR).await.unwrap();
    assert!(began.elapsed() >= SHORT);
    let peer = peer.into_std().unwrap();
    peer.set_nonblocking(false).unwrap();
    let (got, end) = read_all(&peer);
    assert!(end.is_err() && got < written);
}

#[tokio::test]
async fn the_policy_can_change_on_the_way() {
    let (ours, peer) = pair();
    fill(&ours);
    let mut ours = stream(ours, Policy::off());
    ours.set_policy(Linger::Abort);
    assert_eq!(ours.policy().linger(), Linger::Abort);
    drop(ours);
    assert!(read_all(&peer).1.is_err());
}

#[tokio::test]
async fn the_connection_can_be_taken_back() {
    let (ours, peer) = pair();
    let mut tcp = stream(ours, Linger::Abort).into_inner();
    tcp.write_all(b"hello").await.unwrap();
    drop(tcp);
    let (got, end) = read_all(&peer);
    end.unwrap();
    assert_eq!(got, 5);
}

/// A drop where no runtime is: the one in which the stream was made sees to it.
#[tokio::test]
async fn dropped_on_another_thread() {
    let (ours, mut peer) = pair();
    peer.write_all(&[1; 1000]).unwrap();
    let written = fill(&ours);
    let ours = stream(ours, Policy::wait(LONG));
    std::thread::spawn(move || drop(ours)).join().unwrap();
    let reading = tokio::task::spawn_blocking(move || read_all(&peer));
    let (got, end) = reading.await.unwrap();
    end.unwrap();
    assert_eq!(got, written);
}

/// Endings are in flight when the runtime shuts down, and streams are dropped by
/// that and after it.
#[test]
fn a_runtime_that_ends_loses_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut peers = Vec::new();
    let mut survivors = Vec::new();
    for i in 0..60 {
        let (ours, mut peer) = pair();
        peer.write_all(&[1; 1000]).unwrap();
        let written = fill(&ours);
        let _inside = runtime.enter();
        let ours = stream(ours, Policy::wait(LONG));
        match i % 3 {
            0 => drop(ours),
            1 => drop(runtime.spawn(async move {
                std::future::pending::<()>().await;
                drop(ours);
            })),
            _ => survivors.push(ours),
        }
        peers.push((peer, written));
    }
    drop(runtime);
    drop(survivors);
    for (peer, written) in peers {
        let (got, end) = read_all(&peer);
        end.unwrap();
        assert_eq!(got, written);
    }
    // Nor is anything left over.
    assert!(lastbyte::background().wait(LONG));
}

/// That it was half-closed decides whether the FIN counts as a lost byte, once the
/// connection is gone; no way to the close may forget it.
#[tokio::test]
async fn a_half_close_is_remembered_whatever_the_policy() {
    for route in 0..3 {
        let (ours, peer) = pair();
        let written = common::fill(&ours);
        ours.set_nonblocking(true).unwrap();
        let ours = tokio::net::TcpStream::from_std(ours).unwrap();
        let policy = Policy::wait(Duration::from_secs(20));
        let mut stream = Stream::new(ours, policy);
        stream.shutdown().await.unwrap();
        common::reset(peer);
        assert!(common::hung_up(&stream, Duration::from_secs(20)));
        let result = match route {
            0 => stream.close().await,
            1 => lastbyte::on_tokio::close(stream, policy).await,
            _ => {
                stream.set_policy(policy);
                stream.close().await
            }
        };
        let error = result.unwrap_err();
        let report = error.report().unwrap();
        let all = report.acked.unwrap() + report.lost.unwrap();
        assert_eq!(all, written, "{route} {report}");
    }
}
