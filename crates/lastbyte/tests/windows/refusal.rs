use std::net::{TcpListener, UdpSocket};
use std::os::windows::io::OwnedSocket;

use lastbyte::{Linger, Refusal, close};

#[test]
fn what_is_no_connection_is_refused_untouched() {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let fresh = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let fresh = fresh.expect("a socket");
    for (socket, refusal) in [
        (OwnedSocket::from(udp), Refusal::NotTcp),
        (OwnedSocket::from(listener), Refusal::Listening),
        (OwnedSocket::from(fresh), Refusal::NotConnected),
    ] {
        for linger in [Linger::Off, Linger::Abort, Linger::Wait(super::net::LONG)] {
            let again = socket.try_clone().expect("a handle");
            let error = close(again, linger).expect_err("it is no connection");
            assert_eq!(error.refusal(), Some(refusal));
            assert!(error.into_socket().is_ok());
        }
    }
}
