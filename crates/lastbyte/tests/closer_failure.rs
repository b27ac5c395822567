//! A closer whose thread fails.
//!
//! One test only: it looks through the descriptors of the process.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::os::fd::AsRawFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{fill, pair, read_all};
use lastbyte::{Closer, Linger, Policy, WaitError};

const LONG: Duration = Duration::from_secs(20);

/// Far less than what a drain is given, so that one that hangs is seen.
const SOON: Duration = Duration::from_secs(5);

/// The thread's epoll instance is taken away from it, as a program does that closes
/// descriptors which are not its own and opens others. Everybody is told, and nothing
/// hangs.
#[test]
fn a_thread_that_fails_is_told_to_everybody() {
    let before = epolls();
    let closer = Arc::new(Closer::new().unwrap());
    let theirs: Vec<_> = epolls()
        .into_iter()
        .filter(|fd| !before.contains(fd))
        .collect();
    let (ours, peer) = pair();
    let written = fill(&ours);
    let (send, told) = mpsc::channel();
    let inside = Arc::clone(&closer);
    closer
        .close(ours, Policy::wait(LONG), move |result| {
            // On the thread that fails, and has not ended: no wait here either.
            let drained = inside.drain(LONG);
            assert_eq!(drained.error, Some(WaitError::OwnThread));
            send.send(result).unwrap();
        })
        .unwrap();
    assert_eq!(theirs.len(), 1);
    let other = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: the descriptor is the closer's; that it suffers is the test.
    let replaced = unsafe { libc::dup2(other.as_raw_fd(), theirs[0]) };
    assert_eq!(replaced, theirs[0]);
    // Wakes it.
    let (second, second_peer) = pair();
    let (send, second_told) = mpsc::channel();
    let accepted = closer.close(second, Policy::wait(LONG), move |result| {
        send.send(result).unwrap();
    });
    let error = told.recv_timeout(SOON).unwrap().unwrap_err();
    assert!(error.report().is_none(), "{error}");
    // It has the socket where the thread failed before it came to it.
    drop(error);
    if accepted.is_ok() {
        // Not begun and given back, or begun just before and left to the kernel.
        let error = second_told.recv_timeout(SOON).unwrap().unwrap_err();
        assert!(error.report().is_none(), "{error}");
    }
    let drained = closer.drain(LONG);
    assert_eq!(drained.error, Some(WaitError::ThreadFailed));
    let unseen = drained.sums.unseen + drained.before.unseen;
    assert_eq!(unseen, 1 + u64::from(accepted.is_ok()));
    assert!(closer.wait_idle(LONG));
    let (third, _peer) = pair();
    let error = closer.close(third, Linger::Abort, |_| {}).unwrap_err();
    assert_eq!(error.errno().unwrap().raw(), libc::ESRCH);
    assert!(error.into_socket().is_ok());
    // Left to the kernel, which still delivers.
    assert_eq!(read_all(&peer).0, written);
    drop(second_peer);
}

/// The epoll instances of this process.
fn epolls() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let target = std::fs::read_link(&path).ok()?;
            let is_epoll = target.as_os_str() == "anon_inode:[eventpoll]";
            is_epoll.then(|| path.file_name()?.to_str()?.parse().ok())?
        })
        .collect()
}
