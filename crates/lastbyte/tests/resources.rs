//! Without descriptors a close does not begin, and says so (row F2).
//!
//! One test only: the limit is the process's.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use common::{fill, pair, read_all};
use lastbyte::{Closer, Closing, Linger, Policy};
use std::time::Duration;

#[test]
fn f2_without_descriptors_the_socket_comes_back_whole() {
    let wait = Linger::Wait(Duration::from_secs(10));
    let (mut ours, peer) = pair();
    let written = fill(&ours);
    let limit = no_more_descriptors();
    for attempt in [
        |s| lastbyte::close(s, Linger::Off).map(drop),
        |s| lastbyte::close(s, Linger::Wait(Duration::from_secs(10))).map(drop),
        |s| Closing::begin(s, Policy::wait(Duration::from_secs(10))).map(drop),
    ] {
        let error = attempt(ours).unwrap_err();
        assert_eq!(error.errno().unwrap().raw(), libc::EMFILE, "{error}");
        assert!(error.to_string().contains("untouched"));
        ours = error.into_socket().unwrap().into();
    }
    assert!(Closer::new().is_err());
    set_descriptors(limit);
    let reader = std::thread::spawn(move || read_all(&peer));
    let report = lastbyte::close(ours, wait).unwrap();
    assert_eq!(report.acked, Some(written));
    assert_eq!(reader.join().unwrap().0, written);
}

/// Lowers the limit to what is open now; returns what it was.
fn no_more_descriptors() -> libc::rlimit {
    let mut old = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `old` is a live rlimit.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut old) }, 0);
    // The lowest free number; everything below it is open.
    let free = std::fs::File::open("/dev/null").unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&free);
    set_descriptors(libc::rlimit {
        rlim_cur: number as libc::rlim_t,
        ..old
    });
    old
}

fn set_descriptors(limit: libc::rlimit) {
    // SAFETY: `limit` is a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}
