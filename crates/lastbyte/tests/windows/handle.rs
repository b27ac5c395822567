use std::os::windows::io::{AsRawHandle, AsRawSocket};
use std::time::{Duration, Instant};

use lastbyte::{Closing, Errno, Fate, Linger, Policy, Report, background};
use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::Networking::WinSock::{POLLRDNORM, SOCKET, WSAPOLLFD, WSAPoll};
use windows_sys::Win32::System::Threading::WaitForSingleObject;

use super::net::{self, LONG, WSAECONNRESET, fill, pair, read_all, reader, reset};

/// Asks for WSAEWOULDBLOCK, with the handle valid after it.
fn assert_would_block(closing: &mut Closing) {
    let error = closing.try_finish().expect_err("it goes on");
    assert!(error.would_block());
    let errno = error.errno().expect("it is known");
    assert_eq!(errno.raw(), net::WSAEWOULDBLOCK);
    assert_eq!(errno.winsock_name(), Some("WSAEWOULDBLOCK"));
}

fn by_event(closing: &mut Closing) -> Result<Report, lastbyte::CloseError> {
    loop {
        // SAFETY: the handle is open.
        let rc = unsafe { WaitForSingleObject(closing.as_raw_handle(), 60_000) };
        assert_eq!(rc, WAIT_OBJECT_0);
        match closing.try_finish() {
            Err(error) if error.would_block() => {}
            done => return done,
        }
    }
}

fn by_wsapoll(closing: &mut Closing) -> Result<Report, lastbyte::CloseError> {
    loop {
        let mut poll = WSAPOLLFD {
            fd: closing.as_raw_socket() as SOCKET,
            events: POLLRDNORM,
            revents: 0,
        };
        // SAFETY: one live entry.
        assert_eq!(unsafe { WSAPoll(&mut poll, 1, 60_000) }, 1);
        match closing.try_finish() {
            Err(error) if error.would_block() => {}
            done => return done,
        }
    }
}

#[test]
fn a_handle_says_delivered() {
    for wait in [by_event, by_wsapoll] {
        let (ours, peer) = pair();
        let written = fill(&ours);
        ours.set_nonblocking(true).expect("an option");
        let mut closing = Closing::begin(ours, Linger::Wait(LONG)).expect("it begins");
        assert_would_block(&mut closing);
        let reader = reader(peer);
        let report = wait(&mut closing).expect("the peer reads");
        assert_eq!((report.fate, report.lost), (Fate::Delivered, Some(0)));
        assert_eq!(reader.join().expect("no panic"), (written, None));
        // Asked again, it returns the same, and what waits is woken.
        assert_eq!(wait(&mut closing).expect("it is the same"), report);
    }
}

#[test]
fn a_handle_says_timed_out_and_the_peer_is_reset() {
    for wait in [by_event, by_wsapoll] {
        let (ours, mut peer) = pair();
        fill(&ours);
        let time = Duration::from_millis(200);
        let began = Instant::now();
        let mut closing = Closing::begin(ours, Policy::wait(time)).expect("it begins");
        let first = closing.try_finish();
        // On a busy machine the time may be over already.
        if began.elapsed() < time {
            assert!(first.expect_err("it goes on").would_block());
        }
        let error = wait(&mut closing).expect_err("the peer does not read");
        assert_eq!(error.fate(), Some(Fate::TimedOut));
        assert!(error.report().expect("it ended").elapsed >= time);
        assert_eq!(read_all(&mut peer).1, Some(WSAECONNRESET));
    }
}

#[test]
fn a_handle_says_reset() {
    for wait in [by_event, by_wsapoll] {
        let (ours, peer) = pair();
        fill(&ours);
        let mut closing = Closing::begin(ours, Linger::Wait(LONG)).expect("it begins");
        assert_would_block(&mut closing);
        reset(peer);
        let error = wait(&mut closing).expect_err("the peer resets");
        assert_eq!(error.fate(), Some(Fate::Reset));
        assert_eq!(error.errno(), Some(Errno::ECONNRESET));
    }
}

#[test]
fn a_handle_that_is_dropped_goes_on_in_the_background() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let closing = Closing::begin(ours, Linger::Wait(LONG)).expect("it begins");
    drop(closing);
    assert_eq!(reader(peer).join().expect("no panic"), (written, None));
    assert!(background().wait_delivered(LONG));
}
