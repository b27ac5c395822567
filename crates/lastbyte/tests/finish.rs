//! `Closer::finish` on executors that know nothing of this library.
#![allow(clippy::unwrap_used, reason = "a failing test fails")]

mod common;

#[path = "../examples/compio_finish.rs"]
mod compio_finish;
#[path = "../examples/smol_finish.rs"]
mod smol_finish;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use common::{fill, pair, read_all, reset};
use lastbyte::{CloseErrorKind, Closer, Errno, Fate, Linger, Policy, Refusal};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn on_smol() {
    let (report, got) = smol_finish::run().unwrap();
    assert_eq!(got, "413 too large\n");
    assert_eq!(report.fate, Fate::Delivered);
    assert_eq!((report.acked, report.lost), (Some(14), Some(0)));
}

#[test]
fn on_compio() {
    let (report, got) = compio_finish::run().unwrap();
    assert_eq!(got, "413 too large\n");
    assert_eq!(report.fate, Fate::Delivered);
    assert_eq!((report.acked, report.lost), (Some(14), Some(0)));
}

#[test]
fn each_fate_and_its_time() {
    let closer = Closer::new().unwrap();
    let (ours, peer) = pair();
    let written = fill(&ours);
    let began = Instant::now();
    let error =
        smol::block_on(closer.finish(ours, Linger::Wait(Duration::from_millis(300)))).unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(error.kind(), CloseErrorKind::Ended(Fate::TimedOut));
    let report = error.report().unwrap();
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    assert!(read_all(&peer).0 >= report.acked.unwrap());

    let (ours, peer) = pair();
    fill(&ours);
    let finish = closer.finish(ours, Policy::wait(LONG));
    reset(peer);
    let error = smol::block_on(finish).unwrap_err();
    assert_eq!(error.kind(), CloseErrorKind::Ended(Fate::Reset));

    // Off is awaited too.
    let (ours, peer) = pair();
    let written = fill(&ours);
    let reader = thread::spawn(move || read_all(&peer));
    let report = smol::block_on(closer.finish(ours, Linger::Off)).unwrap();
    assert_eq!(
        (report.fate, report.acked),
        (Fate::Delivered, Some(written))
    );
    assert_eq!(reader.join().unwrap().0, written);
}

#[test]
fn what_does_not_begin_is_an_error_with_the_socket() {
    let closer = Closer::builder().limit(1).build().unwrap();
    let (first, peer) = pair();
    fill(&first);
    let under_way = closer.finish(first, Policy::wait(LONG));
    let (second, _peer) = pair();
    let error = smol::block_on(closer.finish(second, Policy::wait(LONG))).unwrap_err();
    assert_eq!(error.kind(), CloseErrorKind::NotBegun);
    assert_eq!(error.errno(), Some(Errno::EWOULDBLOCK));
    assert!(error.into_socket().is_ok());
    reset(peer);
    smol::block_on(under_way).unwrap_err();

    assert!(closer.wait_idle(LONG));
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = smol::block_on(closer.finish(udp, Linger::Off)).unwrap_err();
    assert_eq!(error.kind(), CloseErrorKind::Refused(Refusal::NotTcp));
    assert!(error.into_socket().is_ok());
}

/// Counts its wakes, which the closer's thread makes.
struct Counting(AtomicUsize, thread::Thread);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.unpark();
    }
}

#[test]
fn the_last_waker_is_woken_once() {
    let closer = Closer::new().unwrap();
    let (ours, peer) = pair();
    fill(&ours);
    let mut finish = pin!(closer.finish(ours, Policy::wait(LONG)));
    let counting = || Arc::new(Counting(AtomicUsize::new(0), thread::current()));
    let (first, last) = (counting(), counting());
    let poll = |finish: Pin<&mut lastbyte::Finish>, waker: &Arc<Counting>| {
        let waker = Waker::from(Arc::clone(waker));
        finish.poll(&mut Context::from_waker(&waker))
    };
    assert!(poll(finish.as_mut(), &first).is_pending());
    assert!(poll(finish.as_mut(), &last).is_pending());
    reset(peer);
    while last.0.load(Ordering::SeqCst) == 0 {
        thread::park_timeout(LONG);
    }
    let Poll::Ready(Err(error)) = poll(finish.as_mut(), &last) else {
        panic!("woken, and not ready");
    };
    assert_eq!(error.fate(), Some(Fate::Reset));
    assert_eq!(first.0.load(Ordering::SeqCst), 0);
    assert_eq!(last.0.load(Ordering::SeqCst), 1);
}

#[test]
fn dropped_the_close_goes_on() {
    let closer = Closer::new().unwrap();
    let (ours, peer) = pair();
    let written = fill(&ours);
    drop(closer.finish(ours, Policy::wait(LONG)));
    let (got, end) = read_all(&peer);
    end.unwrap();
    assert_eq!(got, written);
    drop(peer);
    assert!(closer.wait_idle(LONG));
    assert_eq!(closer.sums().delivered, 1);
}

/// Its waker is other people's code: a panic in it ends neither the thread nor another's
/// close.
#[test]
fn a_waker_that_panics_harms_nobody_else() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("a test's panic, as expected");
        }
    }
    let closer = Closer::new().unwrap();
    let (ours, peer) = pair();
    fill(&ours);
    let mut finish = pin!(closer.finish(ours, Policy::wait(LONG)));
    let waker = Waker::from(Arc::new(Bad));
    assert!(
        finish
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    reset(peer);
    assert!(closer.wait_idle(LONG));
    let (ours, _peer) = pair();
    smol::block_on(closer.finish(ours, Policy::wait(LONG))).unwrap();
    smol::block_on(finish).unwrap_err();
}
