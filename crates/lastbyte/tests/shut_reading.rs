//! A reading side that the program shut down before the close, as many servers do:
//! what the peer sends then must cost nothing, and recv() giving 0 is no FIN.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

#[macro_use]
extern crate lastbyte_testkit;

mod common;

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::forms::{FORMS, Form};
use common::{fill, pair_on, read_all, reset};
use lastbyte::{Closer, Fate, Linger, Policy, Side};

fn main() -> std::process::ExitCode {
    lastbyte_testkit::main()
}

/// What comes for a reading side that is shut down is kept out by a filter.
fn need_filters() {
    if let Err(error) = common::blackhole(&pair_on("127.0.0.1:0").0) {
        lastbyte_testkit::ignore(&format!("this user can attach no filter: {error}"));
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const ADDRESSES: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];
const HOW: [Option<Shutdown>; 4] = [
    None,
    Some(Shutdown::Read),
    Some(Shutdown::Write),
    Some(Shutdown::Both),
];

fn shut(stream: &TcpStream, how: Option<Shutdown>) {
    if let Some(how) = how {
        stream.shutdown(how).unwrap();
    }
}

/// The peer's bytes are the oracle: it sends while our queue is full, then reads.
#[test]
fn late_input_costs_nothing() {
    need_filters();
    for address in ADDRESSES {
        for how in HOW {
            thread::scope(|scope| {
                for &(form, close) in FORMS {
                    scope.spawn(move || late_input(address, how, form, close));
                }
            });
        }
    }
}

fn late_input(address: &str, how: Option<Shutdown>, form: &str, close: Form) {
    let (ours, peer) = pair_on(address);
    let written = fill(&ours);
    let what = format!("{address} {how:?} {form}");
    // Between the program's shutdown(2) and the close nothing can be kept out; see
    // `lastbyte::shutdown`.
    shut(&ours, how);
    let peer = thread::spawn(move || {
        // Nothing shows at the peer that the close has begun: its FIN is behind data
        // that the peer has no room for. So it sends for a while.
        thread::sleep(Duration::from_millis(100));
        for _ in 0..10 {
            (&peer).write_all(b"late").unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        read_all(&peer)
    });
    let report = close(ours, Policy::wait(LONG)).unwrap();
    let (read, end) = peer.join().unwrap();
    assert!(end.is_ok(), "{what}: {end:?} after {read} of {written}");
    assert_eq!(read, written, "{what}");
    assert_eq!(report.fate, Fate::Delivered, "{what}");
    assert_eq!((report.acked, report.lost), (Some(written), Some(0)));
    // The peer's FIN, once it has read all, is behind what was kept out, and may have
    // been answered with an RST before anybody looked.
    let unknown = matches!(how, Some(Shutdown::Read | Shutdown::Both));
    let known = report.rst_sent == Some(false);
    assert!(known || (unknown && report.rst_sent.is_none()), "{what}");
}

/// The peer closes nothing: nothing may be called its FIN.
#[test]
fn a_confirmation_is_the_peers() {
    for address in ADDRESSES {
        for how in HOW {
            for &(form, close) in FORMS {
                let (mut ours, peer) = pair_on(address);
                ours.write_all(b"0123456789").unwrap();
                shut(&ours, how);
                let begun = Instant::now();
                let error = close(ours, Policy::wait(SHORT).with_confirm(true)).unwrap_err();
                let report = error.report().unwrap();
                assert_eq!(report.fate, Fate::TimedOut, "{address} {how:?} {form}");
                assert!(begun.elapsed() >= SHORT, "{how:?} {form}");
                assert_eq!((report.acked, report.lost), (Some(10), Some(0)));
                assert_eq!(report.rst_sent, Some(false));
                assert_eq!(report.closed_first, Some(Side::Local));
                let (read, end) = read_all(&peer);
                assert_eq!((read, end.is_ok()), (10, true), "{how:?} {form}");
            }
        }
    }
}

#[test]
fn the_peers_fin_is_seen_behind_a_shut_side() {
    for how in HOW {
        for &(form, close) in FORMS {
            let (mut ours, peer) = pair_on("127.0.0.1:0");
            ours.write_all(b"0123456789").unwrap();
            shut(&ours, how);
            let peer = thread::spawn(move || read_all(&peer).0);
            let report = close(ours, Policy::wait(LONG).with_confirm(true)).unwrap();
            assert_eq!(report.fate, Fate::Confirmed, "{how:?} {form}");
            // Both FINs may have passed before anybody looked.
            assert_ne!(report.closed_first, Some(Side::Peer), "{how:?} {form}");
            assert_eq!(peer.join().unwrap(), 10);
        }
    }
}

/// On+0 on the socket is the program's, and must not reset what was delivered.
#[test]
fn an_option_of_the_programs_does_not_reset_what_was_delivered() {
    for how in HOW {
        for linger2 in [false, true] {
            for &(form, close) in FORMS {
                let (mut ours, peer) = pair_on("127.0.0.1:0");
                Linger::Abort.set(&ours).unwrap();
                if linger2 {
                    set_int(&ours, libc::IPPROTO_TCP, libc::TCP_LINGER2, -1);
                }
                ours.write_all(b"0123456789").unwrap();
                shut(&ours, how);
                let report = close(ours, Policy::wait(LONG)).unwrap();
                assert_eq!(report.rst_sent, Some(false), "{how:?} {form}");
                // An RST makes the peer's next write fail, an EOF does not.
                assert_eq!(state(&peer), CLOSE_WAIT, "{how:?} {linger2} {form}");
                let (read, end) = read_all(&peer);
                assert_eq!((read, end.is_ok()), (10, true), "{how:?} {linger2} {form}");
            }
        }
    }
}

/// Where the program has a filter of its own it stays, late input makes the kernel
/// reset, and the report says that this host did.
#[test]
fn where_nothing_can_be_kept_out_the_reset_is_ours() {
    need_filters();
    for lock in [false, true] {
        for &(form, close) in FORMS {
            let (ours, peer) = pair_on("127.0.0.1:0");
            let written = fill(&ours);
            if lock {
                set_int(&ours, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, 1);
            } else {
                accept_all(&ours);
            }
            ours.shutdown(Shutdown::Both).unwrap();
            let sender = thread::spawn(move || {
                thread::sleep(Duration::from_millis(100));
                (&peer).write_all(b"late").unwrap();
                peer
            });
            let error = close(ours, Policy::wait(LONG)).unwrap_err();
            let report = error.report().unwrap();
            assert_eq!(report.fate, Fate::Failed, "{lock} {form} {report}");
            assert_eq!(report.error.unwrap().raw(), libc::ECONNRESET);
            assert_eq!(report.rst_sent, Some(true), "{lock} {form}");
            assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
            let (read, end) = read_all(&sender.join().unwrap());
            assert_eq!(end.unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
            assert!(read < written, "{form}");
        }
    }
}

/// While input is kept out, nothing tells the peer's RST from one of ours.
#[test]
fn the_peers_reset_is_the_peers() {
    for how in HOW {
        for &(form, close) in FORMS {
            let (ours, peer) = pair_on("127.0.0.1:0");
            let written = fill(&ours);
            shut(&ours, how);
            let peer = thread::spawn(move || {
                thread::sleep(Duration::from_millis(50));
                reset(peer);
            });
            let error = close(ours, Policy::wait(LONG)).unwrap_err();
            peer.join().unwrap();
            let report = error.report().unwrap();
            let known = match how {
                None | Some(Shutdown::Write) => (Fate::Reset, Some(false)),
                Some(Shutdown::Read | Shutdown::Both) => (Fate::Failed, None),
            };
            assert_eq!((report.fate, report.rst_sent), known, "{how:?} {form}");
            assert_eq!(report.error.unwrap().raw(), libc::ECONNRESET);
            assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
        }
    }
}

/// The peer's own FIN, behind data that was kept out, makes the kernel reset. The peer's
/// read is the oracle: it did not reset, and must not be blamed.
#[test]
fn a_fin_behind_what_was_kept_out_is_not_blamed_on_the_peer() {
    need_filters();
    for how in [Shutdown::Read, Shutdown::Both] {
        for &(form, close) in FORMS {
            let (ours, peer) = pair_on("127.0.0.1:0");
            let written = fill(&ours);
            shut(&ours, Some(how));
            let peer = thread::spawn(move || {
                // Nothing shows at the peer that the close has begun.
                thread::sleep(Duration::from_millis(100));
                (&peer).write_all(b"late").unwrap();
                thread::sleep(Duration::from_millis(50));
                peer.shutdown(Shutdown::Write).unwrap();
                read_all(&peer)
            });
            let error = close(ours, Policy::wait(LONG)).unwrap_err();
            let (read, end) = peer.join().unwrap();
            assert!(read < written && end.is_err(), "{how:?} {form}: no reset");
            let report = error.report().unwrap();
            assert_eq!(report.fate, Fate::Failed, "{how:?} {form} {report}");
            assert_ne!(report.rst_sent, Some(false), "{how:?} {form}");
            assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
        }
    }
}

/// What was kept out is not counted, so it is not known.
#[test]
fn discarded_input_is_counted_or_unknown() {
    need_filters();
    let (mut ours, mut peer) = pair_on("127.0.0.1:0");
    peer.write_all(b"before").unwrap();
    common::readable(&ours, LONG);
    ours.write_all(b"answer").unwrap();
    let report = lastbyte::close(ours.try_clone().unwrap(), Policy::wait(LONG)).unwrap();
    assert_eq!(report.unread, Some(6));
    drop(ours);
    let (mut ours, _peer) = pair_on("127.0.0.1:0");
    ours.write_all(b"answer").unwrap();
    ours.shutdown(Shutdown::Both).unwrap();
    let report = lastbyte::close(ours, Policy::wait(LONG)).unwrap();
    assert_eq!(report.unread, None);
}

/// What the program may call instead of shutdown(2), so that not even input between
/// that and the close costs anything.
#[test]
fn a_shutdown_that_is_safe() {
    need_filters();
    for address in ADDRESSES {
        for how in [Shutdown::Read, Shutdown::Both] {
            let (ours, peer) = pair_on(address);
            let written = fill(&ours);
            assert!(lastbyte::shutdown(&ours, how).unwrap());
            (&peer).write_all(b"late").unwrap();
            thread::sleep(Duration::from_millis(20));
            let peer = thread::spawn(move || read_all(&peer));
            let report = lastbyte::close(ours, Policy::wait(LONG)).unwrap();
            assert_eq!(report.fate, Fate::Delivered);
            let (read, end) = peer.join().unwrap();
            assert_eq!((read, end.is_ok()), (written, true), "{address} {how:?}");
        }
    }
}

/// Input that comes between the call and the time at which the closer's thread takes it
/// up, which is busy with another connection's callback. The peer's bytes are the oracle.
#[test]
fn late_input_costs_nothing_while_a_closer_is_busy() {
    need_filters();
    for how in [Shutdown::Read, Shutdown::Both] {
        let closer = Closer::new().unwrap();
        let release = keep_busy(&closer);
        let (ours, peer) = pair_on("127.0.0.1:0");
        let written = fill(&ours);
        shut(&ours, Some(how));
        let (send, result) = mpsc::channel();
        let then = move |found| send.send(found).unwrap();
        closer.close(ours, Policy::wait(LONG), then).unwrap();
        (&peer).write_all(b"late").unwrap();
        release.send(()).unwrap();
        let (read, end) = read_all(&peer);
        assert!(end.is_ok(), "{how:?}: {end:?} after {read} of {written}");
        assert_eq!(read, written, "{how:?}");
        let report = result.recv_timeout(LONG).unwrap().unwrap();
        assert_eq!((report.fate, report.unread), (Fate::Delivered, None));
    }
}

/// A socket that a closer does not take comes back as it was.
#[test]
fn what_is_given_back_has_no_filter() {
    need_filters();
    let closer = Closer::builder().limit(1).build().unwrap();
    let release = keep_busy(&closer);
    let (ours, _peer) = pair_on("127.0.0.1:0");
    shut(&ours, Some(Shutdown::Both));
    let error = closer.close(ours, Policy::wait(LONG), |_| {}).unwrap_err();
    release.send(()).unwrap();
    let socket = TcpStream::from(error.into_socket().unwrap());
    let mut instructions: libc::socklen_t = 0;
    // SAFETY: with a length of 0 the kernel writes the length alone.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_GET_FILTER,
            std::ptr::null_mut(),
            &mut instructions,
        )
    };
    assert_eq!((rc, instructions), (0, 0));
}

/// Has the closer's thread wait in a callback, until it is released.
fn keep_busy(closer: &Closer) -> mpsc::Sender<()> {
    let (ours, _peer) = pair_on("127.0.0.1:0");
    let (began, busy) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let then = move |_| {
        began.send(()).unwrap();
        released.recv().unwrap();
    };
    closer.close(ours, Policy::abort(), then).unwrap();
    busy.recv().unwrap();
    release
}

const CLOSE_WAIT: u8 = 8;

/// The connection's state, by TCP_INFO's first byte.
fn state(stream: &TcpStream) -> u8 {
    // The FIN, or the RST, has come.
    assert!(common::readable(stream, LONG));
    let mut state = 0u8;
    let mut len: libc::socklen_t = 1;
    // SAFETY: `state` has room for the one byte that is asked for.
    let rc = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &mut len,
        )
    };
    assert_eq!(rc, 0);
    state
}

fn set_int(stream: &TcpStream, level: i32, name: i32, value: i32) {
    // SAFETY: one int, of the length passed.
    let rc = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    assert_eq!(rc, 0, "{}", std::io::Error::last_os_error());
}

/// A filter of the program's own, which lets everything in.
fn accept_all(stream: &TcpStream) {
    common::filter(stream, u32::MAX).unwrap();
}

/// Reset before the close begins, by this host, because input came: the program's word
/// is all there is, and the peer is not blamed.
#[test]
fn a_reset_before_the_close_is_not_blamed_on_the_peer() {
    for &(form, close) in FORMS {
        let (ours, mut peer) = pair_on("127.0.0.1:0");
        let written = fill(&ours);
        ours.shutdown(Shutdown::Both).unwrap();
        peer.write_all(b"late").unwrap();
        let (read, end) = read_all(&peer);
        assert!(read < written && end.is_err(), "{form}: no reset");
        let policy = Policy::wait(LONG).with_shut_down(Shutdown::Both);
        let report = *close(ours, policy).unwrap_err().report().unwrap();
        assert_eq!(report.fate, Fate::Failed, "{form}");
        assert_ne!(report.rst_sent, Some(false), "{form}");
        assert_eq!(
            report.acked.zip(report.lost).map(|(a, l)| a + l),
            Some(written)
        );
    }
}
