//! `lastbyte::on_tokio::Listener`: hooks, and the sums of a shutdown.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream as Std};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use common::read_all;
use lastbyte::on_tokio::{Handle, Listener};
use lastbyte::{Connection, Fate, Policy, Report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

type Told = Arc<Mutex<Vec<(SocketAddr, Option<Report>)>>>;

/// Answers each connection with `answer` bytes, reading nothing.
async fn serve(policy: Policy, answer: usize) -> (SocketAddr, Handle, Told) {
    let told = Told::default();
    let hook = Arc::clone(&told);
    let mut listener = Listener::bind("127.0.0.1:0", policy)
        .await
        .unwrap()
        .on_report(move |connection, result| {
            let peer = connection.peer.unwrap();
            let report = match result {
                Ok(report) => Some(*report),
                Err(error) => error.report().copied(),
            };
            hook.lock().unwrap().push((peer, report));
        });
    let address = listener.local_addr().unwrap();
    let handle = listener.handle();
    tokio::spawn(async move {
        while let Some((mut stream, peer)) = listener.accept().await.unwrap() {
            assert_eq!(stream.peer_addr().unwrap(), peer);
            tokio::spawn(async move { stream.write_all(&vec![7; answer]).await });
        }
    });
    (address, handle, told)
}

/// A client that asks for nothing and reads all there is, in its own thread.
fn read_to_the_end(address: SocketAddr) -> std::thread::JoinHandle<(SocketAddr, u64, bool)> {
    let mut client = Std::connect(address).unwrap();
    client.write_all(b"unread").unwrap();
    let me = client.local_addr().unwrap();
    std::thread::spawn(move || {
        let (got, end) = read_all(&client);
        (me, got, end.is_ok())
    })
}

/// Waits for what has no event to wait for outside of the library: at most `LONG`.
async fn until(mut what: impl FnMut() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connection_is_told_once() {
    let (address, handle, told) = serve(Policy::wait(LONG), 1000).await;
    let clients: Vec<_> = (0..50).map(|_| read_to_the_end(address)).collect();
    let mut peers: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let (me, got, eof) = client.join().unwrap();
            assert_eq!((got, eof), (1000, true));
            me
        })
        .collect();
    until(|| handle.open() == 0).await;
    let mut told: Vec<_> = told
        .lock()
        .unwrap()
        .iter()
        .map(|(peer, report)| {
            let report = report.unwrap();
            assert_eq!((report.fate, report.acked), (Fate::Delivered, Some(1000)));
            *peer
        })
        .collect();
    told.sort();
    peers.sort();
    assert_eq!(told, peers);
    let sums = handle.sums();
    assert_eq!((sums.connections, sums.acked.exact()), (50, Some(50_000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_panics_harms_nobody() {
    let mut listener = Listener::bind("127.0.0.1:0", Policy::off())
        .await
        .unwrap()
        .on_report(|_, _| panic!("a test's panic, as expected"));
    let address = listener.local_addr().unwrap();
    let handle = listener.handle();
    let client = read_to_the_end(address);
    let (mut stream, _) = listener.accept().await.unwrap().unwrap();
    stream.write_all(b"hello").await.unwrap();
    drop(stream);
    let (_, got, eof) = client.join().unwrap();
    assert_eq!((got, eof), (5, true));
    until(|| handle.open() == 0).await;
    assert_eq!(handle.sums().acked.exact(), Some(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_for_what_is_under_way() {
    let (address, handle, _) = serve(Policy::wait(LONG), 8_000_000).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Std::connect(address).unwrap());
    }
    until(|| handle.open() == 20).await;
    let shutdown = tokio::spawn({
        let handle = handle.clone();
        async move { handle.shutdown(LONG).await }
    });
    handle.draining().await;
    let reading: Vec<_> = clients
        .into_iter()
        .map(|client| std::thread::spawn(move || read_all(&client)))
        .collect();
    let mut got = 0;
    for client in reading {
        let (n, end) = client.join().unwrap();
        end.unwrap();
        got += n;
    }
    let drained = shutdown.await.unwrap();
    let sums = drained.sums;
    assert!(sums.all_delivered(), "{sums}");
    assert_eq!((sums.connections, sums.delivered), (20, 20));
    assert_eq!(
        (sums.acked.exact(), sums.lost.exact()),
        (Some(got), Some(0))
    );
    assert_eq!(
        drained
            .endings
            .iter()
            .map(|ended| &ended.report)
            .collect::<lastbyte::Sums>(),
        sums
    );
    // Nobody listens any more.
    assert!(Std::connect(address).is_err());
}

/// Slow readers, dead ones, idle ones, answers that were closed and answers that
/// were not: at the deadline the sums are what the clients counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_deadline_sums_equal_what_the_clients_counted() {
    const EACH: usize = 40;
    // Small answers are written and closed at once; large ones never finish. A
    // shutdown's deadline holds for off as well.
    let (small, small_handle, _) = serve(Policy::off(), 600_000).await;
    let (large, large_handle, _) = serve(Policy::wait(LONG), 60_000_000).await;
    let mut clients = Vec::new();
    for (address, handle) in [(small, &small_handle), (large, &large_handle)] {
        for _ in 0..EACH {
            clients.push(Std::connect(address).unwrap());
        }
        until(|| handle.open() == EACH).await;
    }
    // None ends before the shutdown, or it would not be among its sums.
    let begin = Arc::new(Barrier::new(2 * EACH + 1));
    let reading: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(i, mut client)| {
            let begin = Arc::clone(&begin);
            std::thread::spawn(move || {
                begin.wait();
                // Each at its own pace until the end, and then what is left.
                let mut got = 0;
                let mut buffer = vec![0; 997 * (1 + i % 13)];
                loop {
                    match client.read(&mut buffer) {
                        Ok(0) => return (got, true),
                        Ok(n) => got += n as u64,
                        Err(_) => return (got, false),
                    }
                    if got < 100_000 {
                        std::thread::sleep(Duration::from_millis(3));
                    }
                }
            })
        })
        .collect();
    let began = Instant::now();
    let (small, large, _) = tokio::join!(
        biased;
        small_handle.shutdown(SHORT),
        large_handle.shutdown(SHORT),
        async { begin.wait() },
    );
    assert!(began.elapsed() < LONG / 2);
    let mut sums = small.sums;
    sums += large.sums;
    let got: Vec<_> = reading
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    let eofs = got.iter().filter(|(_, eof)| *eof).count() as u64;
    assert_eq!(sums.connections, 2 * EACH as u64);
    assert_eq!(
        sums.acked.exact(),
        Some(got.iter().map(|(n, _)| n).sum()),
        "{sums}"
    );
    assert_eq!(sums.delivered, eofs, "{sums}");
    assert_eq!(
        sums.delivered + sums.timed_out + sums.aborted,
        sums.connections,
        "{sums}"
    );
    assert!(sums.aborted >= 1, "{sums}");
    assert_eq!(sums.rst_sent.exact(), Some(sums.timed_out + sums.aborted));
}

/// What the server still holds at the deadline fails from then on.
#[tokio::test]
async fn at_the_deadline_the_server_is_told() {
    let mut listener = Listener::bind("127.0.0.1:0", Policy::wait(LONG))
        .await
        .unwrap();
    let handle = listener.handle();
    let client = Std::connect(listener.local_addr().unwrap()).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap().unwrap();
    drop(listener);
    let serving = tokio::spawn(async move {
        // Asleep in a read when it happens.
        let read = stream.read_u8().await;
        (read, stream.write_all(b"late").await)
    });
    let sums = handle.shutdown(Duration::from_millis(50)).await.sums;
    assert_eq!((sums.connections, sums.aborted), (1, 1));
    let (read, write) = serving.await.unwrap();
    assert!(read.is_err());
    assert_eq!(
        write.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionAborted
    );
    assert!(read_all(&client).1.is_err());
    assert_eq!(handle.sums().connections, 1);
}

/// Who had connected before the shutdown is let in; closing the listener on them
/// would reset them.
#[tokio::test]
async fn a_shutdown_lets_in_who_has_connected_already() {
    let mut listener = Listener::bind("127.0.0.1:0", Policy::wait(LONG))
        .await
        .unwrap();
    let handle = listener.handle();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..20).map(|_| read_to_the_end(address)).collect();
    let shutdown = tokio::spawn({
        let handle = handle.clone();
        async move { handle.shutdown(LONG).await }
    });
    // It has begun before anybody accepts.
    tokio::task::yield_now().await;
    while let Some((mut stream, _)) = listener.accept().await.unwrap() {
        stream.write_all(b"hello").await.unwrap();
    }
    let sums = shutdown.await.unwrap().sums;
    assert_eq!((sums.connections, sums.acked.exact()), (20, Some(100)));
    for client in clients {
        let (_, got, eof) = client.join().unwrap();
        assert_eq!((got, eof), (5, true));
    }
}

/// A peer that is still sending when all is delivered is waited for; one that is
/// merely still there is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_for_peers_that_are_still_sending() {
    let (address, handle, _) = serve(Policy::wait(LONG), 100).await;
    let mut idle = Std::connect(address).unwrap();
    let mut sender = Std::connect(address).unwrap();
    sender.write_all(&[0; 1000]).unwrap();
    let mut answers = Vec::new();
    sender.read_to_end(&mut answers).unwrap();
    idle.read_to_end(&mut answers).unwrap();
    assert_eq!(answers.len(), 200);
    until(|| handle.sums().delivered == 2).await;
    let mut shutdown = std::pin::pin!(handle.shutdown(LONG));
    assert!(
        tokio::time::timeout(SHORT, shutdown.as_mut())
            .await
            .is_err()
    );
    assert_eq!(handle.open(), 1);
    sender.write_all(&[0; 1000]).unwrap();
    sender.shutdown(Shutdown::Write).unwrap();
    let began = Instant::now();
    let sums = shutdown.await.sums;
    assert!(began.elapsed() < LONG / 2);
    // They were told before the shutdown began.
    assert_eq!(sums.connections, 0);
    assert_eq!(handle.sums().connections, 2);
    drop(idle);
}

#[tokio::test]
async fn taken_back_a_connection_is_not_counted() {
    let mut listener = Listener::bind("127.0.0.1:0", Policy::wait(LONG))
        .await
        .unwrap();
    let handle = listener.handle();
    let client = Std::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().await.unwrap().unwrap();
    assert_eq!(handle.open(), 1);
    let mut tcp = stream.into_inner();
    assert_eq!(handle.open(), 0);
    drop(listener);
    assert_eq!(handle.shutdown(LONG).await.sums.connections, 0);
    tcp.write_all(b"still here").await.unwrap();
    drop(tcp);
    assert_eq!(read_all(&client).0, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn awaiting_a_close_and_giving_up_on_it_are_told_too() {
    let told = Arc::new(Mutex::new(HashMap::new()));
    let hook = Arc::clone(&told);
    let mut listener = Listener::bind("127.0.0.1:0", Policy::wait(LONG))
        .await
        .unwrap()
        .on_report(move |connection, result| {
            hook.lock()
                .unwrap()
                .insert(*connection, result.as_ref().unwrap().fate);
        });
    let handle = listener.handle();
    let address = listener.local_addr().unwrap();
    for give_up in [false, true] {
        let client = Std::connect(address).unwrap();
        let (mut stream, peer) = listener.accept().await.unwrap().unwrap();
        stream.write_all(&[1; 3_000_000]).await.unwrap_or(());
        let reader = std::thread::spawn(move || read_all(&client).0);
        let connection = Connection::of(&stream);
        assert_eq!(connection.peer, Some(peer));
        let closing = stream.close();
        if give_up {
            drop(closing);
        } else {
            closing.await.unwrap();
        }
        until(|| handle.open() == 0).await;
        assert_eq!(
            told.lock().unwrap().get(&connection),
            Some(&Fate::Delivered)
        );
        assert_eq!(reader.join().unwrap(), 3_000_000);
    }
}
