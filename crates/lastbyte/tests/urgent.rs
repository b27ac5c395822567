//! Urgent data (RFC 9293 §3.8.5) that nobody read: it is counted, and costs nothing.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::forms::FORMS;
use common::{fill, pair_on, read_all};
use lastbyte::{Closer, Fate, Policy};
use socket2::SockRef;

const LONG: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
enum Sent {
    Urgent,
    /// The program has read the urgent byte.
    UrgentRead,
    UrgentThenData,
    DataUrgentData,
    /// SO_OOBINLINE: a byte like any other.
    Inline,
}

const ALL: [Sent; 5] = [
    Sent::Urgent,
    Sent::UrgentRead,
    Sent::UrgentThenData,
    Sent::DataUrgentData,
    Sent::Inline,
];

fn urgent(stream: &TcpStream) {
    // SAFETY: one byte, which is alive.
    let n = unsafe { libc::send(stream.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(n, 1);
}

fn read_urgent(stream: &TcpStream) {
    let mut byte = 0u8;
    // SAFETY: `byte` has room for one.
    let n = unsafe { libc::recv(stream.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_OOB) };
    assert_eq!((n, byte), (1, b'!'));
}

/// Waits until an urgent byte, or with it inline any, has come.
fn arrived(stream: &TcpStream, events: i16) {
    let mut poll = libc::pollfd {
        fd: stream.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call.
    assert_eq!(unsafe { libc::poll(&mut poll, 1, 20_000) }, 1);
}

/// Has the peer send that, and says how much of it is unread.
fn send(sent: Sent, ours: &TcpStream, mut peer: &TcpStream) -> u64 {
    if matches!(sent, Sent::Inline) {
        let on: libc::c_int = 1;
        // SAFETY: one int, of the length passed.
        let rc = unsafe {
            libc::setsockopt(
                ours.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_OOBINLINE,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        assert_eq!(rc, 0);
    }
    if matches!(sent, Sent::DataUrgentData) {
        peer.write_all(b"abc").unwrap();
    }
    urgent(peer);
    let urgent_shows = match sent {
        Sent::Inline => libc::POLLIN,
        _ => libc::POLLPRI,
    };
    arrived(ours, urgent_shows);
    if matches!(sent, Sent::UrgentThenData | Sent::DataUrgentData) {
        peer.write_all(b"defgh").unwrap();
        arrived(ours, libc::POLLIN);
        // In two segments or one, the loopback has them there by the next call.
    }
    match sent {
        Sent::Urgent | Sent::Inline => 1,
        Sent::UrgentRead => {
            read_urgent(ours);
            0
        }
        Sent::UrgentThenData => 6,
        Sent::DataUrgentData => 9,
    }
}

#[test]
fn unread_urgent_data_costs_nothing_and_is_counted() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for sent in ALL {
            for &(form, close) in FORMS {
                let (ours, peer) = pair_on(address);
                let unread = send(sent, &ours, &peer);
                let written = fill(&ours);
                let reader = thread::spawn(move || read_all(&peer));
                let report = close(ours, Policy::wait(LONG)).unwrap();
                let (read, end) = reader.join().unwrap();
                let what = format!("{address} {sent:?} {form}");
                assert_eq!((read, end.is_ok()), (written, true), "{what}");
                assert_eq!(report.fate, Fate::Delivered, "{what}");
                assert_eq!(report.unread, Some(unread), "{what}");
                assert_eq!(report.rst_sent, Some(false), "{what}");
            }
        }
    }
}

/// What may not be discarded is left and counted.
#[test]
fn urgent_data_that_is_left_is_counted() {
    for sent in ALL {
        let (mut ours, peer) = pair_on("127.0.0.1:0");
        let unread = send(sent, &ours, &peer);
        ours.write_all(b"answer").unwrap();
        let report = lastbyte::close(ours, Policy::abort()).unwrap();
        assert_eq!(report.unread, Some(unread), "{sent:?}");
        assert_eq!(report.lost.unwrap() + report.acked.unwrap(), 6);
    }
}

/// The same of a connection that the peer has reset meanwhile: nothing can be read
/// from it any more, and what was there is still there.
#[test]
fn urgent_data_before_an_rst_is_counted() {
    for sent in ALL {
        for &(form, close) in FORMS {
            let (ours, peer) = pair_on("127.0.0.1:0");
            let unread = send(sent, &ours, &peer);
            SockRef::from(&peer)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(peer);
            arrived(&ours, libc::POLLHUP);
            let error = close(ours, Policy::wait(LONG)).unwrap_err();
            let report = error.report().expect("the connection was there");
            assert_eq!(report.unread, Some(unread), "{sent:?} {form}");
            assert_eq!(report.fate, Fate::Reset, "{sent:?} {form}");
        }
    }
}

/// At the urgent byte the kernel says that nothing is unread; a plain close would
/// reset the connection all the same.
#[test]
fn a_connection_with_urgent_data_is_not_left_to_the_kernel() {
    for sent in ALL {
        let closer = Closer::new().unwrap();
        let (ours, peer) = pair_on("127.0.0.1:0");
        send(sent, &ours, &peer);
        let written = fill(&ours);
        let (told, result) = mpsc::channel();
        closer
            .close(ours, Policy::off().with_receipt(true), move |r| {
                told.send(r).unwrap();
            })
            .unwrap();
        let (read, end) = read_all(&peer);
        assert_eq!((read, end.is_ok()), (written, true), "{sent:?}");
        drop(peer);
        let report = result.recv_timeout(LONG).unwrap().unwrap();
        assert_eq!(report.lost, Some(0), "{sent:?}");
    }
}
