//! The ways to a `Listener` and a `Stream`, and to the connections of a listener.
#![allow(clippy::unwrap_used, reason = "a failing test fails")]

mod common;

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{TcpListener as StdListener, TcpStream as Std};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use lastbyte::on_tokio::{Listener, Stream};
use lastbyte::{Fate, Linger, Policy};
use smol::stream::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn poll_accept_gives_each_connection_and_then_none() {
    let tcp = StdListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let mut listener = Listener::from_std(tcp, Policy::wait(LONG)).unwrap();
    let handle = listener.handle();
    let clients = [
        Std::connect(address).unwrap(),
        Std::connect(address).unwrap(),
    ];
    for client in &clients {
        let next = timeout(LONG, poll_fn(|cx| listener.poll_accept(cx))).await;
        let (stream, peer) = next.unwrap().unwrap().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(stream.policy().linger(), Linger::Wait(LONG));
    }
    let shutdown = tokio::spawn(async move { handle.shutdown(LONG).await });
    let next = timeout(LONG, poll_fn(|cx| listener.poll_accept(cx))).await;
    assert!(next.unwrap().unwrap().is_none());
    assert!(listener.fd().is_none());
    drop(clients);
    assert_eq!(shutdown.await.unwrap().sums.failed, 0);
}

#[tokio::test]
async fn incoming_ends_with_the_shutdown() {
    let listener = Listener::bind("127.0.0.1:0", Policy::off()).await.unwrap();
    assert!(listener.fd().unwrap().as_raw_fd() >= 0);
    let address = listener.local_addr().unwrap();
    let handle = listener.handle();
    let clients: Vec<_> = (0..3)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Std::connect(address).unwrap();
                client.write_all(&[1; 10_000]).unwrap();
                let mut got = String::new();
                client.read_to_string(&mut got).unwrap();
                got
            })
        })
        .collect();
    let mut incoming = listener.incoming();
    for _ in 0..3 {
        let mut stream = timeout(LONG, incoming.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        // Dropped with its input unread.
        stream.write_all(b"hello").await.unwrap();
    }
    for client in clients {
        let got = tokio::task::spawn_blocking(|| client.join().unwrap());
        assert_eq!(got.await.unwrap(), "hello");
    }
    let shutdown = tokio::spawn(async move { handle.shutdown(LONG).await });
    assert!(timeout(LONG, incoming.next()).await.unwrap().is_none());
    assert!(timeout(LONG, incoming.next()).await.unwrap().is_none());
    drop(incoming);
    let drained = shutdown.await.unwrap();
    assert_eq!(drained.sums.reset + drained.before.reset, 0);
}

#[tokio::test]
async fn a_stream_is_connected_or_taken_over() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = Stream::connect(address, Policy::wait(LONG)).await.unwrap();
    let (peer, _) = listener.accept().unwrap();
    let mut peer = Stream::from_std(peer, Policy::wait(LONG)).unwrap();
    peer.write_all(b"hello").await.unwrap();
    let mut stream = stream;
    let mut got = [0; 5];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello");
    let report = peer.close().await.unwrap();
    assert_eq!((report.fate, report.acked), (Fate::Delivered, Some(5)));
    drop(listener);
    let error = Stream::connect(address, Policy::off()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn outside_of_a_runtime_there_is_an_error() {
    let tcp = StdListener::bind("127.0.0.1:0").unwrap();
    let client = Std::connect(tcp.local_addr().unwrap()).unwrap();
    let error = Stream::from_std(client, Policy::off()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    let error = Listener::from_std(tcp, Policy::off()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
}
