//! A listener's shutdown: it begins at once, ends at its deadline, and can be given up.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::future::Future;
use std::io::Read;
use std::net::{SocketAddr, TcpStream as Std};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use common::{read_all, reset};
use lastbyte::Policy;
use lastbyte::on_tokio::{Listener, Stream};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

async fn listener() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0", Policy::wait(LONG))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Clients that connect faster than the server accepts: it accepts those that had
/// connected when the shutdown began, and then no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_does_not_keep_a_listener_open() {
    let (mut listener, address) = listener().await;
    let handle = listener.handle();
    let over = Arc::new(AtomicBool::new(false));
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if let Ok(client) = Std::connect_timeout(&address, Duration::from_millis(100)) {
                        reset(client);
                    }
                }
            })
        })
        .collect();
    let accepting = tokio::spawn(async move {
        while let Ok(accepted) = listener.accept().await {
            let Some((stream, _)) = accepted else { break };
            // Slower than the clients come.
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(stream);
        }
    });
    // Some are accepted, and more are waiting.
    while handle.sums().connections < 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    let time = Duration::from_secs(2);
    let _ = timeout(LONG, handle.shutdown(time)).await.unwrap();
    timeout(LONG, accepting).await.unwrap().unwrap();
    let took = began.elapsed();
    over.store(true, Ordering::Relaxed);
    for client in flood {
        client.join().unwrap();
    }
    assert!(took < LONG / 2, "{took:?}");
    assert_eq!(handle.open(), 0);
    // Nobody listens.
    assert!(Std::connect(address).is_err());
}

/// A server that comes to accept after the deadline is given nobody any more, whoever is
/// waiting. The listening socket may be shared with other processes, and is theirs.
#[tokio::test]
async fn after_the_deadline_nobody_is_let_in() {
    let (mut listener, address) = listener().await;
    let handle = listener.handle();
    let waiting = Std::connect(address).unwrap();
    let _ = timeout(LONG, handle.shutdown(Duration::from_millis(200)))
        .await
        .unwrap();
    let shared = Std::connect(address).unwrap();
    assert!(listener.accept().await.unwrap().is_none());
    for client in [waiting, shared] {
        assert!(read_all(&client).1.is_err());
    }
    assert!(Std::connect(address).is_err());
    assert_eq!(handle.open(), 0);
}

/// A server that waits for something else before it accepts (a connection limit) is told
/// to stop at once, and not when the time is nearly over.
#[tokio::test]
async fn draining_is_ready_at_once_where_nobody_accepts() {
    let (mut listener, address) = listener().await;
    let handle = listener.handle();
    let client = Std::connect(address).unwrap();
    let (stream, _) = listener.accept().await.unwrap().unwrap();
    let draining = handle.draining();
    let shutdown = tokio::spawn(async move { handle.shutdown(LONG).await });
    let began = Instant::now();
    timeout(LONG, draining).await.unwrap();
    assert!(began.elapsed() < LONG / 4);
    // It stops, within the time.
    drop(stream);
    drop(listener);
    let sums = shutdown.await.unwrap().sums;
    assert_eq!((sums.connections, sums.delivered), (1, 1));
    assert_eq!(read_all(&client).0, 0);
}

/// The same while clients wait whom it will not let in.
#[tokio::test]
async fn draining_is_ready_soon_where_the_backlog_is_not_taken() {
    let (mut listener, address) = listener().await;
    let handle = listener.handle();
    let first = Std::connect(address).unwrap();
    let (stream, _) = listener.accept().await.unwrap().unwrap();
    let _second = Std::connect(address).unwrap();
    let draining = handle.draining();
    let shutdown = tokio::spawn(async move { handle.shutdown(LONG).await });
    let began = Instant::now();
    timeout(LONG, draining).await.unwrap();
    assert!(began.elapsed() < LONG / 4);
    drop((stream, listener));
    assert_eq!(shutdown.await.unwrap().sums.delivered, 1);
    drop(first);
}

/// SO_MAX_PACING_RATE as the kernel has it.
fn pacing(socket: &impl AsFd) -> u64 {
    let mut rate = 0_u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: `rate` has room for `len` bytes, and both outlive the call.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            (&raw mut rate).cast(),
            &mut len,
        )
    };
    assert_eq!((rc, len), (0, 8));
    rate
}

/// Looks after each step of the shutdown.
async fn until_it_holds_back<F: Future>(mut shutdown: Pin<&mut F>, does: impl Fn() -> bool) {
    std::future::poll_fn(|cx| {
        let over = shutdown.as_mut().poll(cx).is_ready();
        if does() {
            return Poll::Ready(());
        }
        assert!(!over, "it does not end before it holds back");
        Poll::Pending
    })
    .await;
}

/// Reads what a server writes without end, in a thread, and counts it.
fn read_and_count(address: SocketAddr, got: Arc<AtomicU64>) -> std::thread::JoinHandle<()> {
    let mut client = Std::connect(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(n @ 1..) = client.read(&mut buffer) {
            got.fetch_add(n as u64, Ordering::Relaxed);
        }
    })
}

/// Given up while it holds transmission back, a shutdown leaves the connections as they
/// were: the kernel's own pacing rate says so, and the bytes that arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_that_is_given_up_holds_nothing_back() {
    let (mut listener, address) = listener().await;
    let handle = listener.handle();
    let got = Arc::new(AtomicU64::new(0));
    let client = read_and_count(address, Arc::clone(&got));
    let (stream, _) = listener.accept().await.unwrap().unwrap();
    drop(listener);
    let before = pacing(&stream);
    // Another view of the same socket, since the writer has the stream.
    let view = stream.as_fd().try_clone_to_owned().unwrap();
    let writing = tokio::spawn(write_without_end(stream));
    {
        let shutdown = std::pin::pin!(handle.shutdown(Duration::from_millis(400)));
        until_it_holds_back(shutdown, || pacing(&view) != before).await;
    }
    assert_eq!(pacing(&view), before);
    // Far more than was on its way by then.
    let enough = got.load(Ordering::Relaxed) + 100_000_000;
    let more = async {
        while got.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(2 * LONG, more).await.unwrap();
    // Another one can still end it.
    let drained = handle.shutdown(Duration::from_millis(400)).await;
    assert_eq!(drained.sums.aborted, 1);
    writing.await.unwrap();
    client.join().unwrap();
}

async fn write_without_end(mut stream: Stream) {
    while stream.write_all(&[7; 1 << 16]).await.is_ok() {}
}

/// The same for connections that the server has closed already.
#[tokio::test]
async fn a_shutdown_that_is_given_up_lets_endings_go_on() {
    const SIZE: usize = 30_000_000;
    let (mut listener, address) = listener().await;
    let handle = listener.handle();
    let client = Std::connect(address).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap().unwrap();
    drop(listener);
    // As much as the queue takes, and the client reads later.
    let mut written = 0;
    while let Ok(n) = timeout(Duration::from_millis(50), stream.write(&vec![7; SIZE])).await {
        written += n.unwrap() as u64;
    }
    let view = stream.as_fd().try_clone_to_owned().unwrap();
    let before = pacing(&view);
    drop(stream);
    {
        let mut shutdown = std::pin::pin!(handle.shutdown(Duration::from_millis(400)));
        // The ending holds itself back, once the shutdown is that far.
        while pacing(&view) == before {
            let step = timeout(Duration::from_millis(1), shutdown.as_mut());
            assert!(step.await.is_err(), "it does not end before it holds back");
        }
    }
    let (got, end) = tokio::task::spawn_blocking(move || read_all(&client))
        .await
        .unwrap();
    end.unwrap();
    assert_eq!(got, written);
    assert_eq!(pacing(&view), before);
}
