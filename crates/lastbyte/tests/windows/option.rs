use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use lastbyte::{Errno, Linger};

use super::net::{self, dont_linger, linger};

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback")
}

#[test]
fn every_value_that_a_u_short_holds_comes_back() {
    let socket = socket();
    assert_eq!(Linger::of(&socket).expect("a socket"), Linger::Off);
    for seconds in [1, 5, 32_767, 32_768, 65_535] {
        let wait = Linger::Wait(Duration::from_secs(seconds));
        assert_eq!(wait.set(&socket).expect("it fits"), wait);
        assert_eq!(linger(&socket), (1, seconds as u16));
        assert_eq!(Linger::of(&socket).expect("a socket"), wait);
    }
    Linger::Abort.set(&socket).expect("it fits");
    assert_eq!(linger(&socket), (1, 0));
    assert_eq!(Linger::of(&socket).expect("a socket"), Linger::Abort);
    Linger::Off.set(&socket).expect("it fits");
    assert_eq!(linger(&socket).0, 0);
    // A fraction is rounded up, never to an abort.
    let half = Linger::Wait(Duration::from_millis(500));
    half.set(&socket).expect("it fits");
    assert_eq!(linger(&socket), (1, 1));
}

#[test]
fn what_a_u_short_does_not_hold_is_refused_and_changes_nothing() {
    let socket = socket();
    net::set_linger(&socket, 1, 7);
    for seconds in [65_536, 65_541, 1 << 31, 1 << 32] {
        let error = Linger::Wait(Duration::from_secs(seconds))
            .set(&socket)
            .expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(linger(&socket), (1, 7));
    }
}

#[test]
fn so_dontlinger_is_the_same_option() {
    let socket = socket();
    for (set, off) in [
        (Linger::Off, true),
        (Linger::Wait(Duration::from_secs(5)), false),
        (Linger::Abort, false),
    ] {
        set.set(&socket).expect("it fits");
        assert_eq!(dont_linger(&socket), off);
        assert_eq!(Linger::dont_linger(&socket).expect("a socket"), off);
    }
    net::set_dont_linger(&socket, true);
    assert_eq!(Linger::of(&socket).expect("a socket"), Linger::Off);
    net::set_linger(&socket, 1, 5);
    Linger::set_dont_linger(&socket, true).expect("a socket");
    assert_eq!(linger(&socket).0, 0);
    assert!(dont_linger(&socket));
}

#[test]
fn so_dontlinger_false_never_leaves_an_abort_behind() {
    let socket = socket();
    net::set_linger(&socket, 1, 5);
    Linger::set_dont_linger(&socket, false).expect("it lingers");
    assert_eq!(linger(&socket), (1, 5));
    Linger::Off.set(&socket).expect("it fits");
    let error = Linger::set_dont_linger(&socket, false).expect_err("there is no time");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(linger(&socket).0, 0);
    // The trap: Winsock's own option does.
    net::set_linger(&socket, 1, 5);
    net::set_dont_linger(&socket, false);
    assert_eq!(linger(&socket), (1, 0));
}

#[test]
fn errors_have_winsocks_numbers_and_names() {
    assert_eq!(Errno::EWOULDBLOCK.raw(), net::WSAEWOULDBLOCK);
    assert_eq!(Errno::ECONNRESET.raw(), net::WSAECONNRESET);
    assert_eq!(Errno::ECONNRESET.name(), Some("ECONNRESET"));
    assert_eq!(Errno::ECONNRESET.winsock_name(), Some("WSAECONNRESET"));
    assert_eq!(Errno::EWOULDBLOCK.winsock_name(), Some("WSAEWOULDBLOCK"));
}
