//! Few descriptors, and none.
//!
//! One test only, and the clients that it runs in a process of their own: the limit is
//! the process's.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as Std};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{fill, pair, read_all};
use lastbyte::on_tokio::{Handle, Listener, Stream};
use lastbyte::{Linger, Policy};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

/// How many clients there are, and how many descriptors the server may have for them.
const CLIENTS: usize = 300;
const DESCRIPTORS: usize = 100;

/// Set where this program is to be the clients.
const ROLE: &str = "LASTBYTE_TEST_CLIENTS_OF";

/// No test in the ordinary way. Takes each answer, and keeps its side open.
#[test]
fn the_clients() {
    let Ok(address) = std::env::var(ROLE) else {
        return;
    };
    set_limit(1000);
    let mut kept = Vec::new();
    for i in 0..CLIENTS {
        let mut client = Std::connect(&address).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "hello", "client {i}");
        kept.push(client);
    }
}

#[test]
fn few_descriptors_and_none() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    set_limit(DESCRIPTORS);
    // Each would wait for clients that have failed.
    let within = |what| runtime.block_on(async { timeout(3 * LONG, what).await.unwrap() });
    let what: Pin<Box<dyn Future<Output = ()>>> = Box::pin(held_connections_make_room());
    within(what);
    within(Box::pin(the_background_makes_room()));
    set_limit(1000);
    within(Box::pin(streams_are_delivered_without_descriptors()));
}

/// Clients that leave their side open are held for what they may still send; before that
/// costs a new client its connection, the oldest of them are closed.
async fn held_connections_make_room() {
    let mut listener = Listener::bind("127.0.0.1:0", Policy::off()).await.unwrap();
    let handle = listener.handle();
    let address = listener.local_addr().unwrap();
    let clients = tokio::task::spawn_blocking(move || run_clients(address));
    for _ in 0..CLIENTS {
        let (mut stream, _) = listener.accept().await.unwrap().unwrap();
        tokio::spawn(async move { stream.write_all(b"hello").await });
    }
    assert!(clients.await.unwrap(), "each client got its answer and EOF");
    delivered(&handle, CLIENTS).await;
}

fn run_clients(address: SocketAddr) -> bool {
    let itself = std::env::current_exe().unwrap();
    Command::new(itself)
        .args(["the_clients", "--exact", "--nocapture"])
        .env(ROLE, address.to_string())
        .stdout(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// The same where the background closer holds them.
async fn the_background_makes_room() {
    let mut listener = Listener::bind("127.0.0.1:0", Policy::off()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let clients = tokio::task::spawn_blocking(move || run_clients(address));
    for _ in 0..CLIENTS {
        let (mut stream, _) = listener.accept().await.unwrap().unwrap();
        stream.write_all(b"hello").await.unwrap();
        lastbyte::on_tokio::close(stream.into_inner(), Linger::Off)
            .await
            .unwrap();
    }
    assert!(clients.await.unwrap(), "each client got its answer and EOF");
}

/// With no descriptor left, what a server drops is delivered all the same, unread and
/// late input notwithstanding, and told.
async fn streams_are_delivered_without_descriptors() {
    const EACH: usize = 5;
    let failed = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&failed);
    let mut listener = Listener::bind("127.0.0.1:0", Policy::wait(LONG))
        .await
        .unwrap()
        .on_report(move |_, result| {
            if let Err(error) = result {
                hook.lock().unwrap().push(error.to_string());
            }
        });
    let handle = listener.handle();
    let address = listener.local_addr().unwrap();
    let (mut clients, mut streams, mut written) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..EACH {
        let mut client = Std::connect(address).unwrap();
        client.write_all(&[1; 100_000]).unwrap();
        if i % 2 == 0 {
            // Both sides have closed, which the reactor does not tell from more input.
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let (mut stream, _) = listener.accept().await.unwrap().unwrap();
        written.push(fill_async(&mut stream).await);
        clients.push(client);
        streams.push(stream);
    }
    let (refused, refused_peer) = pair();
    let refused_written = fill(&refused);
    let (own, own_peer) = pair();
    let own_written = fill(&own);
    own.set_nonblocking(true).unwrap();
    let own = TcpStream::from_std(own).unwrap();

    let hogs: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    drop(streams);
    let own = tokio::spawn(lastbyte::on_tokio::close(own, Linger::Wait(LONG)));
    // One that is not in the reactor would need one.
    let error = lastbyte::on_tokio::close(refused, Linger::Wait(LONG))
        .await
        .unwrap_err();
    assert_eq!(error.errno().unwrap().raw(), libc::EMFILE, "{error}");
    let refused = error.into_socket().unwrap();
    // The endings have been tried by now, by the sweeper and as tasks.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let readers: Vec<_> = clients
        .into_iter()
        .chain([own_peer])
        .zip(written.iter().copied().chain([own_written]))
        .map(|(mut client, written)| {
            tokio::task::spawn_blocking(move || {
                // Late input; refused where this side is closed.
                let _ = client.write_all(&[1; 1000]);
                let (got, end) = read_all(&client);
                end.unwrap();
                assert_eq!(got, written);
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(own.await.unwrap().unwrap().acked, Some(own_written));
    delivered(&handle, EACH).await;
    assert_eq!(handle.sums().acked.exact(), Some(written.iter().sum()));
    assert!(failed.lock().unwrap().is_empty(), "{failed:?}");
    drop(hogs);
    // Untouched.
    let reader = tokio::task::spawn_blocking(move || read_all(&refused_peer));
    let report = lastbyte::on_tokio::close(refused, Linger::Wait(LONG))
        .await
        .unwrap();
    assert_eq!(report.acked, Some(refused_written));
    assert_eq!(reader.await.unwrap().0, refused_written);
}

async fn fill_async(stream: &mut Stream) -> u64 {
    let mut written = 0;
    loop {
        let write = stream.write(&[2; 60_000]);
        match timeout(Duration::from_millis(30), write).await {
            Ok(n) => written += n.unwrap() as u64,
            Err(_) => return written,
        }
    }
}

/// Waits until so many connections are delivered, and no other fate was told.
async fn delivered(handle: &Handle, connections: usize) {
    let all = async {
        while handle.sums().connections < connections as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, all).await.unwrap();
    assert_eq!(
        handle.sums().delivered,
        connections as u64,
        "{}",
        handle.sums()
    );
}

fn set_limit(descriptors: usize) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a live rlimit is written, and then read.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = descriptors as libc::rlim_t;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}
