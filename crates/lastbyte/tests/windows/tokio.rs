use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ::tokio::runtime::Runtime;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use lastbyte::on_tokio::{self, Listener};
use lastbyte::{Fate, Policy};

use super::net::{LONG, WSAECONNRESET, fill, pair, read_all, reader, reset};

fn into_tokio(stream: TcpStream) -> ::tokio::net::TcpStream {
    stream.set_nonblocking(true).expect("an option");
    ::tokio::net::TcpStream::from_std(stream).expect("a runtime")
}

#[test]
fn a_close_on_the_reactor_says_delivered_timed_out_and_reset() {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (ours, peer) = pair();
        let written = fill(&ours);
        let peer = reader(peer);
        let report = on_tokio::close(into_tokio(ours), Policy::wait(LONG)).await;
        assert_eq!(report.expect("the peer reads").fate, Fate::Delivered);
        assert_eq!(peer.join().expect("no panic"), (written, None));

        let (ours, mut peer) = pair();
        fill(&ours);
        let time = Duration::from_millis(200);
        let error = on_tokio::close(into_tokio(ours), Policy::wait(time)).await;
        assert_eq!(
            error.expect_err("it does not read").fate(),
            Some(Fate::TimedOut)
        );
        assert_eq!(read_all(&mut peer).1, Some(WSAECONNRESET));

        let (ours, peer) = pair();
        fill(&ours);
        let close = on_tokio::close(into_tokio(ours), Policy::wait(LONG));
        reset(peer);
        assert_eq!(
            close.await.expect_err("it resets").fate(),
            Some(Fate::Reset)
        );
    });
}

/// The client sends more than the server takes, and reads only then.
#[test]
fn axums_early_413_arrives_100_times_of_100() {
    const BODY: usize = 1 << 20;
    let runtime = Runtime::new().expect("a runtime");
    let address = runtime.block_on(async {
        let app = Router::new()
            .route(
                "/",
                post(|body: Bytes| async move { body.len().to_string() }),
            )
            .layer(DefaultBodyLimit::max(1024));
        let listener = Listener::bind("127.0.0.1:0", Policy::off())
            .await
            .expect("loopback");
        let address = axum::serve::Listener::local_addr(&listener).expect("bound");
        ::tokio::spawn(async move { axum::serve(listener, app).await });
        address
    });
    for at in 0..100 {
        let mut client = TcpStream::connect(address).expect("it listens");
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n");
        client
            .write_all(head.as_bytes())
            .expect("the server takes it");
        client
            .write_all(&vec![b'b'; BODY])
            .unwrap_or_else(|e| panic!("{at}: {e}"));
        let mut answer = Vec::new();
        client
            .read_to_end(&mut answer)
            .unwrap_or_else(|e| panic!("{at}: {e}"));
        let status = String::from_utf8_lossy(&answer);
        assert!(status.starts_with("HTTP/1.1 413"), "{at}: {status}");
    }
}
