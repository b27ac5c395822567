//! Children of a process that closes: nothing hangs, and what they close arrives.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::future::Future;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{fill, pair, read_all};
use lastbyte::{Closer, Fate, Linger, Policy, WaitError, background};

const LONG: Duration = Duration::from_secs(20);

/// How a child ended: its exit status, or the signal that killed it.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Exit(i32),
    Signal(i32),
}

/// Runs `child` in a forked child, which dies of SIGALRM where it hangs.
fn forked(child: impl FnOnce() -> i32) -> End {
    // SAFETY: fork in a process with threads; the child uses what must work after that,
    // and leaves by _exit.
    let pid = unsafe { libc::fork() };
    assert_ne!(pid, -1);
    if pid == 0 {
        // SAFETY: no memory involved.
        unsafe { libc::alarm(10) };
        let status = child();
        // SAFETY: the same.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: our child, and a live int.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Exit(libc::WEXITSTATUS(status))
    }
}

/// One thread uses the background closer without a pause while children are forked:
/// none inherits a lock that nobody will release.
#[test]
fn no_lock_is_held_across_a_fork() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let busy = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::Relaxed) {
                let (ours, _peer) = pair();
                lastbyte::close(ours, Linger::Off).unwrap();
                for _ in 0..500 {
                    let _ = background().in_flight();
                }
            }
        }
    });
    for i in 0..600 {
        let end = forked(|| {
            let Ok(mut ours) = TcpStream::connect(address) else {
                return 1;
            };
            let written = ours.write(b"from the child").unwrap_or(0);
            let closed = lastbyte::close(ours, Linger::Off).is_ok();
            i32::from(written != 14 || !closed || background().in_flight() > 1)
        });
        assert_eq!(end, End::Exit(0), "child {i}");
        let (peer, _) = listener.accept().unwrap();
        assert_eq!(read_all(&peer).0, 14);
    }
    over.store(true, Ordering::Relaxed);
    busy.join().unwrap();
}

/// The child's own background closer keeps the contract in the child.
#[test]
fn a_child_has_a_background_closer_of_its_own() {
    let (first, mut first_peer) = pair();
    first_peer.write_all(b"unread").unwrap();
    lastbyte::close(first, Linger::Off).unwrap();
    let (ours, mut peer) = pair();
    peer.write_all(b"unread").unwrap();
    let written = fill(&ours);
    let reader = std::thread::spawn(move || read_all(&peer));
    let end = forked(move || {
        let Ok(report) = lastbyte::close(ours, Policy::off().with_drain_time(Duration::ZERO))
        else {
            return 1;
        };
        if !matches!(report.fate, Fate::Detached | Fate::Delivered) {
            return 2;
        }
        if !background().wait(LONG) {
            return 3;
        }
        0
    });
    assert_eq!(end, End::Exit(0));
    let (got, end) = reader.join().unwrap();
    end.unwrap();
    assert_eq!(got, written);
}

/// A closer made before the fork has no thread in the child: errors, and no wait.
#[test]
fn a_closer_of_the_parents_is_refused_in_the_child() {
    let closer = Closer::new().unwrap();
    let (busy, _peer) = pair();
    fill(&busy);
    closer.close(busy, Policy::wait(LONG), |_| {}).unwrap();
    let (ours, peer) = pair();
    let began = Instant::now();
    let end = forked(|| {
        let Err(error) = closer.close(ours, Policy::wait(LONG), |_| {}) else {
            return 1;
        };
        if error.errno().map(lastbyte::Errno::raw) != Some(libc::ESRCH) {
            return 2;
        }
        if error.into_socket().is_err() {
            return 3;
        }
        let drained = closer.drain(LONG);
        if drained.error != Some(WaitError::Forked) || drained.sums.all_delivered() {
            return 4;
        }
        if closer.wait_idle(LONG) || closer.wait_reported(LONG) {
            return 5;
        }
        if closer.in_flight() != 0 || closer.sums().connections != 0 {
            return 6;
        }
        // Dropping it is harmless: the parent's goes on.
        drop(closer);
        0
    });
    assert_eq!(end, End::Exit(0));
    assert!(began.elapsed() < LONG);
    drop(peer);
}

/// A future of the parent's closer is never woken in the child; polled there, it says so.
#[test]
fn a_future_of_the_parents_is_an_error_in_the_child() {
    let closer = Closer::new().unwrap();
    let (ours, peer) = pair();
    fill(&ours);
    let finish = closer.finish(ours, Policy::wait(LONG));
    let mut finish = std::pin::pin!(finish);
    let mut poll = || {
        let waker = std::task::Waker::noop();
        finish
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker))
    };
    assert!(poll().is_pending());
    let end = forked(|| match poll() {
        std::task::Poll::Ready(Err(error))
            if error.errno().map(lastbyte::Errno::raw) == Some(libc::ESRCH) =>
        {
            0
        }
        _ => 1,
    });
    assert_eq!(end, End::Exit(0));
    drop(peer);
}
