//! A signal during the wait does not cut it short (row D5).

mod common;

use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{fill, pair};
use lastbyte::{Fate, Linger};

static CAUGHT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn d5_the_wait_goes_on_to_its_deadline() {
    let handler: extern "C" fn(libc::c_int) = count;
    // SAFETY: all zero is a valid sigaction; the handler only adds to an atomic.
    // No SA_RESTART, so that system calls are really interrupted.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()),
            0
        );
    }
    let (ours, _peer) = pair();
    fill(&ours);
    let time = Duration::from_millis(400);
    let closer = std::thread::spawn(move || lastbyte::close(ours, Linger::Wait(time)));
    let thread = closer.as_pthread_t();
    while !closer.is_finished() {
        let before = CAUGHT.load(Ordering::SeqCst);
        // SAFETY: the thread has not been joined, so its handle is valid.
        unsafe { libc::pthread_kill(thread as _, libc::SIGUSR1) };
        while CAUGHT.load(Ordering::SeqCst) == before && !closer.is_finished() {
            std::thread::yield_now();
        }
    }
    let error = closer.join().unwrap().unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::TimedOut);
    assert!(report.elapsed >= time);
    assert!(CAUGHT.load(Ordering::SeqCst) > 1);
}
