//! What is not a connection is refused, untouched.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{pair, read_all};
use lastbyte::{Closer, Closing, Fate, Linger, Policy, Refusal};

fn refused(socket: impl Into<OwnedFd>) -> (Refusal, Option<OwnedFd>) {
    let error = lastbyte::close(socket, Linger::Wait(Duration::from_secs(1))).unwrap_err();
    assert!(error.report().is_none());
    assert!(!error.would_block());
    let refusal = error.refusal().unwrap();
    assert_eq!(error.errno(), Some(refusal.errno()));
    (refusal, error.into_socket().ok())
}

#[test]
fn a_udp_socket() {
    let (a, b) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    a.connect(b.local_addr().unwrap()).unwrap();
    let (refusal, socket) = refused(a);
    assert_eq!(refusal, Refusal::NotTcp);
    let a = UdpSocket::from(socket.unwrap());
    a.send(b"still works").unwrap();
}

#[test]
fn a_unix_stream() {
    let (a, _b) = UnixStream::pair().unwrap();
    assert_eq!(refused(a).0, Refusal::NotTcp);
}

#[test]
fn a_listener_goes_on_listening() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (refusal, socket) = refused(listener);
    assert_eq!(refusal, Refusal::Listening);
    let listener = TcpListener::from(socket.unwrap());
    let _client = TcpStream::connect(address).unwrap();
    listener.accept().unwrap();
}

#[test]
fn a_socket_that_was_never_connected() {
    // SAFETY: socket(2) takes no pointer, and the new descriptor is owned here.
    let socket =
        unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET6, libc::SOCK_STREAM, 0)) };
    assert_eq!(refused(socket).0, Refusal::NotConnected);
}

#[test]
fn a_socket_whose_connection_was_refused() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let std::net::SocketAddr::V4(nobody) = nobody else {
        unreachable!("bound to IPv4")
    };
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: nobody.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(nobody.ip().octets()),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: the descriptor is new and owned here; connect(2) reads one
    // sockaddr_in of the length passed.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        let rc = libc::connect(
            fd,
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        );
        assert_eq!(rc, -1);
        OwnedFd::from_raw_fd(fd)
    };
    assert_eq!(refused(socket).0, Refusal::NotConnected);
}

#[test]
fn a_file() {
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(refused(file).0, Refusal::NotASocket);
}

#[test]
fn a_descriptor_that_is_not_open() {
    // SAFETY: it is not open, so nobody owns it; it is never closed as open
    // either, which is what this test shows.
    let bad = unsafe { OwnedFd::from_raw_fd(1_000_000) };
    let (refusal, socket) = refused(bad);
    assert_eq!(refusal, Refusal::BadDescriptor);
    assert!(socket.is_none());
}

#[test]
fn refused_in_every_form() {
    let udp = || UdpSocket::bind("127.0.0.1:0").unwrap();
    for linger in [Linger::Off, Linger::Abort] {
        let error = lastbyte::close(udp(), linger).unwrap_err();
        assert_eq!(error.refusal(), Some(Refusal::NotTcp));
    }
    let error = Closing::begin(udp(), Policy::off()).unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::NotTcp));
    let closer = Closer::new().unwrap();
    let (send, result) = std::sync::mpsc::channel();
    closer
        .close(udp(), Linger::Abort, move |r| send.send(r).unwrap())
        .unwrap();
    let error = result.recv().unwrap().unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::NotTcp));
    assert!(error.into_socket().is_ok());
}

#[test]
fn a_connection_that_both_sides_have_shut_down_is_delivered() {
    for ours_connects in [true, false] {
        let (connecting, accepted) = pair();
        let (mut ours, peer) = if ours_connects {
            (connecting, accepted)
        } else {
            (accepted, connecting)
        };
        ours.write_all(b"all of it").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_all(&peer).0, 9);
        drop(peer);
        assert_eq!(read_all(&ours).0, 0);
        let report = lastbyte::close(ours, Linger::Wait(Duration::from_secs(5))).unwrap();
        assert_eq!(report.fate, Fate::Delivered);
        assert_eq!((report.acked, report.lost), (Some(9), Some(0)));
    }
}

/// The program's own write takes the error off the socket, and with it the reason; a
/// close after that still knows that nothing ended well.
#[test]
fn a_connection_whose_reset_a_write_has_told_has_failed() {
    for ours_connects in [true, false] {
        let (connecting, accepted) = pair();
        let (mut ours, peer) = if ours_connects {
            (connecting, accepted)
        } else {
            (accepted, connecting)
        };
        common::reset(peer);
        while ours.write_all(b"too late").is_ok() {}
        let error = lastbyte::close(ours, Linger::Wait(Duration::from_secs(5))).unwrap_err();
        assert_eq!(error.fate(), Some(Fate::Failed));
        let report = error.report().unwrap();
        assert_eq!((report.error, report.rst_sent), (None, None));
        assert_eq!(report.lost, Some(0));
    }
}

/// What becomes of its data does not show in any one of its TCP connections.
#[test]
fn an_mptcp_connection_is_refused_in_every_form() {
    const IPPROTO_MPTCP: libc::c_int = 262;
    let connect = |to: std::net::SocketAddr| {
        let address = socket2::SockAddr::from(to);
        let kind = socket2::Type::STREAM;
        let protocol = socket2::Protocol::from(IPPROTO_MPTCP);
        let socket = socket2::Socket::new(address.domain(), kind, Some(protocol)).ok()?;
        socket.connect(&address).unwrap();
        Some(TcpStream::from(socket))
    };
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        for &(form, close) in common::forms::FORMS {
            for policy in [
                Policy::off(),
                Policy::abort(),
                Policy::wait(Duration::from_secs(5)),
            ] {
                // The listener speaks TCP alone, so the connection has fallen back to it:
                // it is MPTCP's all the same.
                let Some(ours) = connect(listener.local_addr().unwrap()) else {
                    return; // no MPTCP in this kernel
                };
                let (mut peer, _) = listener.accept().unwrap();
                let error = close(ours, policy).unwrap_err();
                assert_eq!(error.refusal(), Some(Refusal::Mptcp), "{form}");
                assert_eq!(error.errno().unwrap().raw(), libc::EPROTONOSUPPORT);
                // Given back, and untouched.
                let ours = TcpStream::from(error.into_socket().unwrap());
                peer.write_all(b"still there").unwrap();
                drop(peer);
                assert_eq!(read_all(&ours).0, 11, "{form}");
            }
        }
    }
}
