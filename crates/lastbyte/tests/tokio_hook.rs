//! The hook sees every form of close on tokio, once, with the connection's id and addresses.
//!
//! One test only: the hook is the process's.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::net::TcpStream as Std;
use std::time::Duration;

use common::pair;
use lastbyte::on_tokio::{Listener, Stream};
use lastbyte::{Connection, Fate, Policy};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

type Told = (Connection, Fate);

fn adopt(stream: Std) -> TcpStream {
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

async fn expect(told: &mut mpsc::UnboundedReceiver<Told>, peer: &Std, fate: Fate) {
    let (connection, told_fate) = timeout(LONG, told.recv()).await.unwrap().unwrap();
    assert_eq!(told_fate, fate);
    assert_eq!(connection.peer, Some(peer.local_addr().unwrap()));
    // One that was reset does not tell any more.
    let local = peer.peer_addr().ok().or(connection.local);
    assert!(connection.local.is_some());
    assert_eq!(connection.local, local);
    assert!(connection.id > Some(0));
    assert!(told.try_recv().is_err(), "once");
}

#[tokio::test]
async fn the_hook_sees_every_form_once() {
    let (send, mut told) = mpsc::unbounded_channel();
    lastbyte::on_report(move |connection, result| {
        let fate = match result {
            Ok(report) => report.fate,
            Err(error) => error.fate().unwrap(),
        };
        send.send((*connection, fate)).unwrap();
    })
    .unwrap();
    let policy = Policy::wait(LONG);

    let (ours, peer) = pair();
    lastbyte::on_tokio::close(adopt(ours), policy)
        .await
        .unwrap();
    expect(&mut told, &peer, Fate::Delivered).await;

    let (ours, peer) = pair();
    lastbyte::on_tokio::close(ours, policy).await.unwrap();
    expect(&mut told, &peer, Fate::Delivered).await;

    let (ours, peer) = pair();
    Stream::new(adopt(ours), policy).close().await.unwrap();
    expect(&mut told, &peer, Fate::Delivered).await;

    // Dropped: nobody else is told.
    let (ours, peer) = pair();
    let mut ours = Stream::new(adopt(ours), policy);
    ours.write_all(b"x").await.unwrap();
    drop(ours);
    expect(&mut told, &peer, Fate::Delivered).await;

    let (ours, peer) = pair();
    drop(Stream::new(adopt(ours), Policy::abort()));
    expect(&mut told, &peer, Fate::Aborted).await;

    let mut listener = Listener::bind("127.0.0.1:0", policy).await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = Std::connect(address).unwrap();
    drop(listener.accept().await.unwrap());
    expect(&mut told, &peer, Fate::Delivered).await;

    // Cut at a shutdown's deadline.
    let peer = Std::connect(address).unwrap();
    let held = listener.accept().await.unwrap();
    let handle = listener.handle();
    drop(listener);
    let _ = handle.shutdown(Duration::from_millis(50)).await;
    expect(&mut told, &peer, Fate::Aborted).await;
    drop(held);
}
