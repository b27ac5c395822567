//! Without memory for a thread a background close does not begin, and says so
//! (row F2).
//!
//! One test only: the limit is the process's.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::time::Duration;

use common::{fill, pair, read_all};
use lastbyte::{Closer, Closing, Linger, Policy};

#[test]
fn f2_without_a_thread_the_socket_comes_back_whole() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let (second, second_peer) = pair();
    let second_written = fill(&second);
    let closing = Closing::begin(second, Policy::wait(Duration::from_secs(20))).unwrap();

    let limit = no_more_memory();
    let off = lastbyte::close(ours, Linger::Off);
    let closer = Closer::new();
    // Dropped unfinished with no thread to be had: left to the kernel.
    drop(closing);
    set_memory(limit);

    let error = off.unwrap_err();
    assert!(error.to_string().contains("untouched"), "{error}");
    assert!(closer.is_err());
    let ours = error.into_socket().unwrap();
    let reader = std::thread::spawn(move || read_all(&peer));
    let report = lastbyte::close(ours, Linger::Wait(Duration::from_secs(10))).unwrap();
    assert_eq!(report.acked, Some(written));
    assert_eq!(reader.join().unwrap().0, written);
    let (got, end) = read_all(&second_peer);
    end.unwrap();
    assert_eq!(got, second_written);
}

/// Leaves no room for a thread's stack; returns what the limit was.
fn no_more_memory() -> libc::rlimit {
    let mut old = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `old` is a live rlimit.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut old) }, 0);
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_whitespace().next().unwrap().parse().unwrap();
    set_memory(libc::rlimit {
        rlim_cur: pages * 4096 + (512 << 10),
        ..old
    });
    old
}

fn set_memory(limit: libc::rlimit) {
    // SAFETY: `limit` is a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}
