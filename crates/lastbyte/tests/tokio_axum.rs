//! `axum::serve` over `lastbyte::on_tokio::Listener`.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::future::IntoFuture;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use lastbyte::on_tokio::{Handle, Listener};
use lastbyte::{Policy, Sums};

const LONG: Duration = Duration::from_secs(20);

async fn listen(policy: Policy) -> (Listener, SocketAddr, Handle) {
    let listener = Listener::bind("127.0.0.1:0", policy).await.unwrap();
    let (address, handle) = (listener.local_addr().unwrap(), listener.handle());
    (listener, address, handle)
}

/// Has a client of its own thread, which blocks, do something with a connection.
async fn client<T: Send + 'static>(
    address: SocketAddr,
    what: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> T {
    tokio::task::spawn_blocking(move || what(TcpStream::connect(address).unwrap()))
        .await
        .unwrap()
}

/// A client that sends its whole request before it reads, as most do.
fn upload(mut stream: TcpStream) -> String {
    const BODY: usize = 4 << 20;
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(&vec![0; BODY]).unwrap();
    // The server closes after its answer, though it was not asked to.
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_upload_gets_the_answer_that_was_given_without_reading_it() {
    let (listener, address, handle) = listen(Policy::off()).await;
    let refuse = || async { (StatusCode::PAYLOAD_TOO_LARGE, "too large") };
    let app = Router::new().route("/", post(refuse));
    let server = axum::serve(listener, app).with_graceful_shutdown(handle.draining());
    let server = tokio::spawn(server.into_future());
    let uploads: Vec<_> = (0..50)
        .map(|_| tokio::spawn(client(address, upload)))
        .collect();
    for upload in uploads {
        let answer = upload.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:?}");
        assert!(answer.ends_with("too large"), "{answer:?}");
    }
    let _ = handle.shutdown(LONG).await;
    server.await.unwrap().unwrap();
    let sums = handle.sums();
    assert_eq!(
        (sums.connections, sums.delivered + sums.confirmed),
        (50, 50),
        "{sums}"
    );
    assert_eq!(
        (sums.lost.exact(), sums.rst_sent.exact()),
        (Some(0), Some(0)),
        "{sums}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_shutdown_tells_what_each_client_got() {
    const SIZE: usize = 4 << 20;
    let (listener, address, handle) = listen(Policy::wait(LONG)).await;
    let app = Router::new().route("/", get(|| async { vec![7; SIZE] }));
    let server = axum::serve(listener, app).with_graceful_shutdown(handle.draining());
    let server = tokio::spawn(server.into_future());

    // In flight: each has the first byte of its answer and takes no more.
    let mut clients = Vec::new();
    for _ in 0..20 {
        let begun = client(address, |mut stream| {
            write!(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream
        });
        clients.push(begun.await);
    }
    // Every other one reads on while the server drains.
    let (readers, stuck): (Vec<_>, Vec<_>) = clients
        .into_iter()
        .enumerate()
        .partition(|(i, _)| i % 2 == 0);
    let reading: Vec<_> = readers
        .into_iter()
        .map(|(_, stream)| tokio::task::spawn_blocking(move || common::read_all(&stream)))
        .collect();
    let drained = handle.shutdown(Duration::from_secs(2)).await;
    server.await.unwrap().unwrap();

    let mut got = 0;
    for reading in reading {
        let (bytes, end) = reading.await.unwrap();
        end.unwrap();
        got += 1 + bytes;
    }
    for (_, stream) in stuck {
        let (bytes, end) = common::read_all(&stream);
        assert_eq!(end.unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
        got += 1 + bytes;
    }
    let Sums {
        connections,
        delivered,
        confirmed,
        acked,
        ..
    } = drained.sums;
    assert_eq!(
        (connections, delivered + confirmed),
        (20, 10),
        "{}",
        drained.sums
    );
    assert_eq!(acked.exact(), Some(got), "{}", drained.sums);
    assert_eq!(drained.endings.len(), 20);
}

#[tokio::test]
async fn handlers_see_the_clients_address() {
    let (listener, address, handle) = listen(Policy::off()).await;
    let app = Router::new().route(
        "/",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
    );
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server =
        axum::serve(listener.tap_io(|_| {}), app).with_graceful_shutdown(handle.draining());
    let server = tokio::spawn(server.into_future());
    let (me, answer) = client(address, |mut stream| {
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (stream.local_addr().unwrap(), answer)
    })
    .await;
    assert!(answer.ends_with(&me.to_string()), "{answer:?}");
    let _ = handle.shutdown(LONG).await;
    server.await.unwrap().unwrap();
}
