//! `CloseError`: its kinds, what it gives back, and what `?` keeps.
#![allow(clippy::unwrap_used, reason = "a failing test fails")]

mod common;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use common::{fill, pair, read_all, reset};
use lastbyte::{CloseError, CloseErrorKind, Closer, Closing, Errno, Fate, Linger, Policy, Refusal};

const SHORT: Duration = Duration::from_millis(200);

fn by_question_mark(stream: TcpStream, linger: Linger) -> io::Result<()> {
    lastbyte::close(stream, linger)?;
    Ok(())
}

#[test]
fn the_report_survives_a_question_mark() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let error = by_question_mark(ours, Linger::Wait(SHORT)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(Errno::of(&error), Some(Errno::EWOULDBLOCK));
    assert!(error.to_string().contains("EWOULDBLOCK"), "{error}");
    let inner: &CloseError = error.get_ref().unwrap().downcast_ref().unwrap();
    let report = *inner.report().unwrap();
    assert_eq!(report.acked.unwrap() + report.lost.unwrap(), written);
    let error = error.downcast::<CloseError>().unwrap();
    assert_eq!(error.report(), Some(&report));
    assert!(read_all(&peer).0 >= report.acked.unwrap());
}

#[test]
fn the_socket_of_a_close_that_was_refused_survives_it_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = TcpStream::from(OwnedFd::from(listener));
    let error = by_question_mark(socket, Linger::Off).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let error = error.downcast::<CloseError>().unwrap();
    let socket = error.into_socket().unwrap();
    // Still listening.
    TcpStream::connect(address).unwrap();
    drop(socket);
}

#[test]
fn each_failed_fate_has_its_kind_and_its_io_kind() {
    let (ours, peer) = pair();
    fill(&ours);
    let closing = thread::spawn(move || lastbyte::close(ours, Linger::Wait(SHORT * 50)));
    reset(peer);
    let error = closing.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), CloseErrorKind::Ended(Fate::Reset));
    assert_eq!(error.errno(), Some(Errno::ECONNRESET));
    assert_eq!(
        io::Error::from(error).kind(),
        io::ErrorKind::ConnectionReset
    );

    let (ours, peer) = pair();
    fill(&ours);
    let error = lastbyte::close(ours, Linger::Wait(SHORT)).unwrap_err();
    assert_eq!(error.kind(), CloseErrorKind::Ended(Fate::TimedOut));
    drop(peer);

    let (ours, peer) = pair();
    fill(&ours);
    let policy = Policy::wait(SHORT * 50).with_stall(SHORT / 2);
    let error = lastbyte::close(ours, policy).unwrap_err();
    assert_eq!(error.kind(), CloseErrorKind::Ended(Fate::Stalled));
    drop(peer);
}

#[test]
fn a_handle_or_the_error_itself_comes_back() {
    let (ours, peer) = pair();
    fill(&ours);
    ours.set_nonblocking(true).unwrap();
    let error = lastbyte::close(ours, Linger::Wait(SHORT * 50)).unwrap_err();
    assert_eq!(error.kind(), CloseErrorKind::WouldBlock);
    let error = error.into_socket().unwrap_err();
    let mut closing = error.into_closing().unwrap();
    // Its caller has the handle already.
    let error = closing.try_finish().unwrap_err();
    assert_eq!(error.kind(), CloseErrorKind::WouldBlock);
    let error = error.into_closing().unwrap_err();
    assert!(error.would_block());
    assert!(closing.as_raw_fd() >= 0);
    drop(closing);
    reset(peer);
}

#[test]
fn a_refusal_is_an_error_by_itself() {
    let refusal = lastbyte::close(
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap(),
        Linger::Off,
    )
    .unwrap_err()
    .kind();
    assert_eq!(refusal, CloseErrorKind::Refused(Refusal::NotTcp));
    let error: Box<dyn std::error::Error + Send + Sync> = Refusal::NotTcp.into();
    assert_eq!(error.to_string(), "the socket is not a TCP stream");
}

/// A number that is not open belongs to nobody, and none is given back.
#[test]
fn there_is_no_socket_where_none_was_open() {
    let (ours, _peer) = pair();
    // Beyond what any test opens, so that no thread of another takes the number.
    let number = 900;
    // SAFETY: made for this; what was open under the number, if anything, is not ours to
    // have, and nothing is.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let error = lastbyte::close(socket, Linger::Off).unwrap_err();
    assert_eq!(
        error.kind(),
        CloseErrorKind::Refused(Refusal::BadDescriptor)
    );
    let error = error.into_socket().unwrap_err();
    assert_eq!(error.errno().map(|errno| errno.raw()), Some(libc::EBADF));
    drop(ours);
}

#[test]
fn a_closer_without_a_place_has_not_begun() {
    let closer = Closer::builder().limit(0).build().unwrap();
    let (ours, _peer) = pair();
    let error = closer.close(ours, Linger::Off, |_| {}).unwrap_err();
    assert_eq!(error.kind(), CloseErrorKind::NotBegun);
    assert_eq!(error.errno().and_then(Errno::name), Some("EWOULDBLOCK"));
    assert!(error.into_socket().is_ok());
}

#[test]
fn errno_prints_its_name() {
    assert_eq!(format!("{:?}", Errno::ECONNRESET), "ECONNRESET");
    assert_eq!(format!("{:?}", Errno::from_raw(12345)), "errno 12345");
    let (ours, peer) = pair();
    fill(&ours);
    let error = lastbyte::close(ours, Linger::Wait(Duration::ZERO)).unwrap_err();
    let printed = format!("{:?}", error.report());
    assert!(printed.contains("error: Some(EWOULDBLOCK)"), "{printed}");
    drop(peer);
}

#[test]
fn an_errno_is_found_where_there_is_one() {
    assert_eq!(Errno::of(&Errno::ETIMEDOUT.into()), Some(Errno::ETIMEDOUT));
    assert_eq!(Errno::of(&io::Error::other("no errno")), None);
    assert_eq!(Errno::of(&io::ErrorKind::TimedOut.into()), None);
}

/// What `begin` refuses comes back as from `close`.
#[test]
fn begin_gives_its_socket_back() {
    let unconnected = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let error = Closing::begin(unconnected.unwrap(), Linger::Off).unwrap_err();
    assert_eq!(error.kind(), CloseErrorKind::Refused(Refusal::NotConnected));
    assert!(error.into_socket().is_ok());
}
