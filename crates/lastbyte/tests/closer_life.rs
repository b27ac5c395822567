//! The closer's life: drains that race, callbacks that wait, and panics.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use common::{fill, pair, read_all};
use lastbyte::{Closer, Fate, Linger, Policy, WaitError};

const LONG: Duration = Duration::from_secs(20);

/// Far less than what a drain is given, so that one that hangs is seen.
const SOON: Duration = Duration::from_secs(5);

/// Each close that was accepted is told by a drain that begins at the same time, and has
/// ended when it returns. The oracle is the number of peers that saw the connection end.
#[test]
fn a_drain_tells_every_close_that_was_accepted() {
    const EACH: usize = 40;
    for round in 0..30_u64 {
        let closer = Arc::new(Closer::new().unwrap());
        let (ours, peers): (Vec<_>, Vec<_>) = (0..EACH).map(|_| pair()).unzip();
        for socket in &ours {
            fill(socket);
        }
        let begin = Arc::new(Barrier::new(2));
        let closing = std::thread::spawn({
            let (closer, begin) = (Arc::clone(&closer), Arc::clone(&begin));
            move || {
                begin.wait();
                let close = |socket| closer.close(socket, Policy::wait(LONG), |_| {});
                ours.into_iter().map(close).collect::<Vec<_>>()
            }
        });
        begin.wait();
        std::thread::sleep(Duration::from_micros(round * 7));
        let drained = closer.drain(Duration::from_millis(5));
        let results = closing.join().unwrap();
        let accepted = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(drained.sums.connections, accepted as u64, "round {round}");
        assert_eq!(drained.sums.timed_out, accepted as u64);
        // Those that were refused have their sockets in the error, open.
        let ended = peers
            .iter()
            .filter(|peer| common::hung_up(*peer, Duration::ZERO));
        assert_eq!(ended.count(), accepted);
    }
}

/// Closes that end at once are told too, and those that ended before are told apart.
#[test]
fn a_drain_tells_what_ended_before_it() {
    let closer = Closer::new().unwrap();
    let (send, reports) = mpsc::channel();
    let mut peers = Vec::new();
    for _ in 0..10 {
        let (ours, peer) = pair();
        let send = send.clone();
        closer
            .close(ours, Linger::Abort, move |result| {
                send.send(result).unwrap();
            })
            .unwrap();
        peers.push(peer);
    }
    let drained = closer.drain(LONG);
    assert_eq!(drained.error, None);
    assert_eq!(drained.sums.aborted + drained.before.aborted, 10);
    assert_eq!(reports.try_iter().count(), 10);
    assert_eq!(closer.sums().aborted, 10);
}

/// Two threads that drain are told the same, and the shorter time counts.
#[test]
fn two_drains_tell_the_same() {
    let closer = Closer::new().unwrap();
    let mut peers = Vec::new();
    for _ in 0..4 {
        let (ours, peer) = pair();
        fill(&ours);
        closer.close(ours, Policy::wait(LONG), |_| {}).unwrap();
        peers.push(peer);
    }
    let began = Instant::now();
    let (long, short) = std::thread::scope(|scope| {
        let long = scope.spawn(|| closer.drain(LONG));
        let short = scope.spawn(|| closer.drain(Duration::from_millis(100)));
        (long.join().unwrap(), short.join().unwrap())
    });
    assert!(began.elapsed() < SOON);
    for drained in [&long, &short] {
        assert_eq!((drained.sums.connections, drained.sums.timed_out), (4, 4));
        assert_eq!((drained.endings.len(), drained.error), (4, None));
    }
    let mut own: Vec<_> = peers.iter().map(|p| p.local_addr().ok()).collect();
    let mut told: Vec<_> = long
        .endings
        .iter()
        .map(|ended| ended.connection.peer)
        .collect();
    own.sort();
    told.sort();
    assert_eq!(own, told);
    // A third, when all is over.
    assert_eq!(closer.drain(LONG).sums, long.sums);
}

/// A callback runs on the thread that it would wait for.
#[test]
fn a_callback_that_waits_is_told_so_at_once() {
    let closer = Arc::new(Closer::new().unwrap());
    let (other, _otherpeer) = pair();
    fill(&other);
    closer.close(other, Policy::wait(LONG), |_| {}).unwrap();
    let (ours, _peer) = pair();
    let (send, told) = mpsc::channel();
    let inside = Arc::clone(&closer);
    closer
        .close(ours, Linger::Abort, move |_| {
            let began = Instant::now();
            let idle = inside.wait_idle(LONG);
            let reported = inside.wait_reported(LONG);
            let can_wait = inside.can_wait();
            let drained = inside.drain(Duration::from_millis(100));
            send.send((idle, reported, can_wait, drained, began.elapsed()))
                .unwrap();
        })
        .unwrap();
    let (idle, reported, can_wait, drained, took) = told.recv_timeout(SOON).unwrap();
    assert!(took < SOON);
    assert_eq!((idle, reported), (false, false));
    assert_eq!(can_wait, Err(WaitError::OwnThread));
    assert_eq!(drained.error, Some(WaitError::OwnThread));
    // Itself, whose callback has not returned, and the other.
    assert_eq!(drained.sums.unseen, 2);
    assert!(!drained.sums.all_delivered());
    let raw = std::io::Error::from(WaitError::OwnThread).raw_os_error();
    assert_eq!(raw, Some(libc::EDEADLK));
    // What it began goes on, and can be waited for elsewhere.
    let sums = closer.drain(LONG).sums;
    assert_eq!(sums.timed_out, 1);
    assert!(closer.wait_idle(SOON));
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a test's panic, as expected");
        }
    }
}

/// Whatever a callback does by panicking, the others' connections end as they should.
#[test]
fn panics_of_callbacks_harm_nobody_else() {
    let closer = Closer::new().unwrap();
    let (send, reports) = mpsc::channel();
    let mut peers = Vec::new();
    for i in 0..12 {
        let (ours, peer) = pair();
        peers.push(peer);
        let send = send.clone();
        let captured = (i % 4 == 2).then(|| PanicsWhenDropped);
        closer
            .close(ours, Policy::wait(LONG), move |result| {
                let _captured = &captured;
                send.send(result.unwrap().fate).unwrap();
                match i % 4 {
                    0 => panic!("a test's panic, as expected"),
                    1 => std::panic::panic_any(PanicsWhenDropped),
                    _ => {}
                }
            })
            .unwrap();
    }
    for _ in 0..12 {
        assert_eq!(reports.recv_timeout(SOON).unwrap(), Fate::Delivered);
    }
    assert!(closer.wait_idle(SOON));
    let drained = closer.drain(SOON);
    assert_eq!(drained.before.delivered + drained.sums.delivered, 12);
    assert_eq!(drained.error, None);
}

/// What is delivered need not be waited for until its peer has closed.
#[test]
fn the_background_can_be_waited_for_until_all_is_delivered() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let written = fill(&ours);
    let before = lastbyte::background().sums();
    lastbyte::close(ours, Policy::off()).unwrap();
    assert!(!lastbyte::background().wait_delivered(Duration::from_millis(50)));
    assert_eq!(lastbyte::background().undelivered(), 1);
    // Sends, so that it is held after delivery, and never closes.
    peer.write_all(b"late").unwrap();
    let reader = std::thread::spawn(move || {
        let (got, end) = read_all(&peer);
        end.unwrap();
        (got, peer)
    });
    assert!(lastbyte::background().wait_delivered(SOON));
    assert_eq!(lastbyte::background().undelivered(), 0);
    assert_eq!(lastbyte::background().in_flight(), 1);
    let (got, peer) = reader.join().unwrap();
    assert_eq!(got, written);
    let sums = lastbyte::background().sums();
    assert_eq!(sums.delivered, before.delivered + 1);
    assert!(!lastbyte::background().wait(Duration::from_millis(50)));
    drop(peer);
    assert!(lastbyte::background().wait(SOON));
}

/// Whoever a report wakes finds nothing in flight that has ended. The closer's thread has
/// the same processor and runs only where nobody else does, so that it stands still at the
/// moment when it wakes another.
#[test]
fn nothing_is_in_flight_once_everything_is_reported() {
    let waiting = std::thread::spawn(|| {
        stay_on_one_processor();
        for drains in [true, false].into_iter().cycle().take(10) {
            let closer = Closer::new().unwrap();
            let (filled, peer) = pair();
            fill(&filled);
            let (send, idle) = mpsc::channel();
            let yielding = move |_| send.send(yield_to_all()).unwrap();
            closer.close(pair().0, Linger::Abort, yielding).unwrap();
            assert_eq!(idle.recv(), Ok(0));
            closer.close(filled, Policy::wait(LONG), |_| {}).unwrap();
            if drains {
                assert_eq!(closer.drain(Duration::ZERO).sums.timed_out, 1);
            } else {
                common::reset(peer);
                assert!(closer.wait_reported(LONG));
            }
            assert_eq!(closer.in_flight(), 0, "after a drain: {drains}");
        }
    });
    waiting.join().unwrap();
}

fn stay_on_one_processor() {
    // SAFETY: the sets are plain memory of the size that is passed, alive meanwhile; 0 is
    // the calling thread.
    unsafe {
        let mut all: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of_val(&all);
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut all), 0);
        let first = (0..libc::CPU_SETSIZE as usize)
            .find(|&cpu| libc::CPU_ISSET(cpu, &all))
            .unwrap();
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut one);
        assert_eq!(libc::sched_setaffinity(0, size, &raw const one), 0);
    }
}

/// Has the calling thread run only where no other wants to. 0, or -1 where it failed.
fn yield_to_all() -> i32 {
    // SAFETY: it is plain data, and alive during the call.
    unsafe {
        let none: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none)
    }
}
