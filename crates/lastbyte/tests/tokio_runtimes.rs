//! Runtimes of every kind: without time, without IO, with a paused clock, gone, and none.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::future::Future;
use std::io::{ErrorKind, Write};
use std::net::TcpStream as Std;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

use common::{fill, pair, read_all};
use lastbyte::on_tokio::{Handle, Listener, Stream};
use lastbyte::{Errno, Fate, Linger, Policy};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

const LONG: Duration = Duration::from_secs(20);

fn adopt(stream: Std) -> TcpStream {
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

fn without_time() -> Runtime {
    Builder::new_current_thread().enable_io().build().unwrap()
}

/// A deadline is one of the runtime's clock, which reaches it as soon as nothing else is
/// to be done: without waiting for it, and without spinning until it has come.
#[tokio::test(start_paused = true)]
async fn a_paused_clock_keeps_the_deadline() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let (real, virtually) = (Instant::now(), tokio::time::Instant::now());
    let time = Duration::from_secs(3600);
    let error = lastbyte::on_tokio::close(adopt(ours), Linger::Wait(time))
        .await
        .unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::TimedOut);
    assert!(report.elapsed >= time, "{report:?}");
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    // Real time that passes before the alarm is set counts as well.
    assert!(virtually.elapsed() + real.elapsed() >= time);
    assert!(real.elapsed() < LONG);
    assert!(read_all(&peer).1.is_err());
}

/// What is on its way gets real time to be acknowledged, whatever the clock says.
#[tokio::test(start_paused = true)]
async fn a_paused_clock_gives_an_acknowledgement_its_time() {
    // One of the first segments of a connection is acknowledged at once, a later one
    // with a delay of 40 ms.
    for _ in 0..5 {
        let (mut ours, mut peer) = pair();
        for _ in 0..20 {
            ours.write_all(b"request").unwrap();
            std::io::Read::read_exact(&mut peer, &mut [0; 7]).unwrap();
        }
        ours.write_all(b"the last byte").unwrap();
        let report = lastbyte::on_tokio::close(adopt(ours), Linger::Wait(LONG))
            .await
            .unwrap();
        assert_eq!(report.fate, Fate::Delivered);
        assert_eq!(read_all(&peer).0, 13);
    }
}

/// The stall time, the hold and a listener's shutdown go by the same clock.
#[tokio::test(start_paused = true)]
async fn a_paused_clock_keeps_the_other_times() {
    let (ours, _peer) = pair();
    fill(&ours);
    let real = Instant::now();
    let policy = Policy::wait(Duration::from_secs(7200)).with_stall(Duration::from_secs(600));
    let error = lastbyte::on_tokio::close(adopt(ours), policy)
        .await
        .unwrap_err();
    assert_eq!(error.fate(), Some(Fate::Stalled), "{error}");

    let listener = Listener::bind("127.0.0.1:0", policy).await.unwrap();
    let handle = listener.handle();
    let mut listener = listener;
    let client = Std::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().await.unwrap().unwrap();
    drop(listener);
    let drained = handle.shutdown(Duration::from_secs(600)).await;
    assert_eq!(drained.sums.aborted, 1);
    assert!(real.elapsed() < LONG);
    drop((stream, client));
}

/// Without time a close that would have to wait does not begin, and says why.
#[test]
fn without_time_there_are_errors_and_nothing_is_lost() {
    let (first, first_peer) = pair();
    let (second, mut second_peer) = pair();
    second_peer.write_all(b"unread").unwrap();
    let (written, also_written) = (fill(&first), fill(&second));
    let readers = [(first_peer, written), (second_peer, also_written)].map(|(peer, written)| {
        move || {
            let (got, end) = read_all(&peer);
            end.unwrap();
            assert_eq!(got, written);
        }
    });
    let runtime = without_time();
    let first = runtime.block_on(async {
        let error = Listener::bind("127.0.0.1:0", Policy::off())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("enable_time"), "{error}");
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = Listener::new(tcp, Policy::off())
            .accept()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");

        let error = lastbyte::on_tokio::close(adopt(first), Linger::Wait(LONG))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("untouched"), "{error}");
        // What does not wait needs no time.
        let (idle, _idle_peer) = pair();
        let report = lastbyte::on_tokio::close(adopt(idle), Linger::Abort)
            .await
            .unwrap();
        assert_eq!(report.fate, Fate::Aborted);
        // Dropped, the background has it.
        drop(Stream::new(adopt(second), Policy::wait(LONG)));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        error.into_socket().unwrap()
    });
    let [first_reader, second_reader] = readers.map(std::thread::spawn);
    lastbyte::close(first, Linger::Off).unwrap();
    first_reader.join().unwrap();
    second_reader.join().unwrap();
}

/// A socket that is not tokio's needs IO to be awaited.
#[test]
fn without_io_the_socket_comes_back() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let (ours, peer) = pair();
    let written = fill(&ours);
    let error = runtime
        .block_on(async { lastbyte::on_tokio::close(ours, Linger::Wait(LONG)).await })
        .unwrap_err();
    assert!(error.to_string().contains("enable_io"), "{error}");
    let ours = error.into_socket().unwrap();
    let reader = std::thread::spawn(move || read_all(&peer));
    let report = lastbyte::close(ours, Linger::Wait(LONG)).unwrap();
    assert_eq!(report.acked, Some(written));
    assert_eq!(reader.join().unwrap().0, written);
}

/// As an executor that is not tokio's.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

/// Outside of every runtime the background closer waits, and tells.
#[test]
fn outside_of_a_runtime_a_close_is_told_all_the_same() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    for dead in [false, true] {
        let (ours, peer) = pair();
        let written = fill(&ours);
        let ours = {
            let _inside = runtime.enter();
            adopt(ours)
        };
        let (dead_peer, peer) = if dead {
            (Some(peer), None)
        } else {
            (None, Some(peer))
        };
        let reader = peer.map(|peer| std::thread::spawn(move || read_all(&peer).0));
        let time = if dead {
            Duration::from_millis(50)
        } else {
            LONG
        };
        let result = block_on(lastbyte::on_tokio::close(ours, Linger::Wait(time)));
        match reader {
            Some(reader) => {
                assert_eq!(result.unwrap().acked, Some(written));
                assert_eq!(reader.join().unwrap(), written);
            }
            None => assert_eq!(result.unwrap_err().errno(), Some(Errno::EWOULDBLOCK)),
        }
        drop(dead_peer);
    }
}

/// Connections that are dropped on another thread while their runtime ends: no panic,
/// each client gets everything and EOF, and each is told with its report.
#[test]
fn a_runtime_that_ends_beside_the_drops_is_no_panic_and_loses_no_report() {
    const EACH: usize = 16;
    for round in 0..60_u64 {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut listener = runtime
            .block_on(Listener::bind("127.0.0.1:0", Policy::wait(LONG)))
            .unwrap();
        let (address, handle) = (listener.local_addr().unwrap(), listener.handle());
        let (mut clients, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..EACH {
            let mut client = Std::connect(address).unwrap();
            client.write_all(b"unread").unwrap();
            clients.push(client);
            let (stream, _) = runtime.block_on(listener.accept()).unwrap().unwrap();
            streams.push(stream);
        }
        let begin = Arc::new(Barrier::new(2));
        let theirs = Arc::clone(&begin);
        let dropping = std::thread::spawn(move || {
            theirs.wait();
            drop(streams);
        });
        begin.wait();
        std::thread::sleep(Duration::from_micros(round * 5));
        if round % 2 == 0 {
            runtime.shutdown_background();
        } else {
            drop(runtime);
        }
        dropping.join().expect("a drop does not panic");
        for client in &clients {
            let (got, end) = read_all(client);
            end.unwrap();
            assert_eq!(got, 0);
        }
        all_told(&handle, EACH as u64);
        drop(listener);
    }
}

/// Waits for what has no event to wait for once its runtime is gone.
fn all_told(handle: &Handle, connections: u64) {
    let began = Instant::now();
    while handle.sums().connections < connections || handle.open() > 0 {
        assert!(
            began.elapsed() < LONG,
            "{} {}",
            handle.sums(),
            handle.open()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(handle.sums().delivered, connections, "{}", handle.sums());
}
