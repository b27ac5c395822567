//! The option itself, on real sockets (rows A1 to A5).
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use lastbyte::{Linger, LingerForm, Policy, RawLinger};
use proptest::prelude::*;

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn set_raw(socket: &impl AsFd, l_onoff: i32, l_linger: i32) {
    let raw = libc::linger { l_onoff, l_linger };
    // SAFETY: a live linger of the length passed.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const raw).cast(),
            size_of_val(&raw) as libc::socklen_t,
        )
    };
    assert_eq!(rc, 0);
}

#[test]
fn a1_a_fresh_socket_is_off() {
    assert_eq!(Linger::of(&socket()).unwrap(), Linger::Off);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(Linger::of(&udp).unwrap(), Linger::Off);
}

#[test]
fn a2_every_mode_comes_back() {
    let socket = socket();
    let seconds = |s| Linger::Wait(Duration::from_secs(s));
    for linger in [
        seconds(1),
        Linger::Off,
        Linger::Abort,
        seconds(65_536),
        seconds(i32::MAX as u64),
        Linger::Off,
    ] {
        assert_eq!(linger.set(&socket).unwrap(), linger);
        assert_eq!(Linger::of(&socket).unwrap(), linger);
        assert_eq!(Policy::from_socket(&socket).unwrap(), linger.into());
    }
}

#[test]
fn a2_what_does_not_fit_is_refused_and_changes_nothing() {
    let socket = socket();
    Linger::Wait(Duration::from_secs(7)).set(&socket).unwrap();
    for linger in [
        Linger::Wait(Duration::from_secs(i32::MAX as u64 + 1)),
        Linger::Wait(Duration::MAX),
        Linger::Endless { l_linger: -1 },
    ] {
        let error = linger.set(&socket).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(!error.to_string().is_empty());
        assert_eq!(
            Linger::of(&socket).unwrap(),
            Linger::Wait(Duration::from_secs(7))
        );
    }
}

#[test]
fn a3_a_fraction_is_rounded_up() {
    let socket = socket();
    for (asked, held) in [(1, 1), (500, 1), (1000, 1), (1001, 2)] {
        let linger = Linger::Wait(Duration::from_millis(asked));
        assert_eq!(
            linger.set(&socket).unwrap(),
            Linger::Wait(Duration::from_secs(held))
        );
    }
    // Neither an abort nor a second: no option holds it.
    let error = Linger::Wait(Duration::ZERO).set(&socket).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(
        Linger::of(&socket).unwrap(),
        Linger::Wait(Duration::from_secs(2))
    );
}

#[test]
fn a5_a_negative_time_is_told_and_has_no_deadline() {
    let socket = socket();
    for l_linger in [-1, i32::MIN] {
        set_raw(&socket, 1, l_linger);
        let linger = Linger::of(&socket).unwrap();
        assert!(matches!(linger, Linger::Endless { l_linger } if l_linger < 0));
        assert_eq!(linger.deadline(), None);
    }
    // Any l_onoff but 0 is on; off keeps no time.
    set_raw(&socket, -5, 3);
    assert_eq!(
        Linger::of(&socket).unwrap(),
        Linger::Wait(Duration::from_secs(3))
    );
    set_raw(&socket, 0, 9);
    assert_eq!(Linger::of(&socket).unwrap(), Linger::Off);
}

const FORMS: [LingerForm; 8] = [
    LingerForm::LINUX,
    LingerForm::POSIX,
    LingerForm::BSD44,
    LingerForm::FREEBSD,
    LingerForm::OPENBSD,
    LingerForm::MACOS,
    LingerForm::MACOS_SEC,
    LingerForm::WINDOWS,
];

proptest! {
    /// a4: whatever a form accepts comes back, at most one unit longer, and is
    /// never an abort; what it refuses is beyond its longest wait.
    #[test]
    fn a4_conversions_keep_the_time(millis in 0u64..1 << 44, which in 0..FORMS.len()) {
        let form = FORMS[which];
        let time = Duration::from_millis(millis);
        match form.raw(Linger::Wait(time)) {
            Ok(raw) => {
                prop_assert!(raw.l_onoff != 0 && raw.l_linger > 0);
                let Linger::Wait(back) = form.linger(raw) else {
                    return Err(TestCaseError::fail("not a wait"));
                };
                prop_assert!(back >= time);
                prop_assert!(back - time <= Duration::from_secs(1));
                // What it gives is held exactly.
                prop_assert_eq!(form.raw(Linger::Wait(back)), Ok(raw));
            }
            Err(_) => prop_assert!(time > form.longest()),
        }
    }

    /// Any two integers have a meaning, and the meaning is stable.
    #[test]
    fn a5_any_integers_mean_something(l_onoff: i32, l_linger: i32, which in 0..FORMS.len()) {
        let form = FORMS[which];
        let linger = form.linger(RawLinger { l_onoff, l_linger });
        match linger {
            Linger::Off => prop_assert_eq!(l_onoff, 0),
            Linger::Abort => prop_assert!(l_onoff != 0 && l_linger == 0),
            Linger::Endless { l_linger: raw } => prop_assert!(raw == l_linger && raw < 0),
            _ => prop_assert!(l_onoff != 0 && l_linger > 0),
        }
        if let Ok(raw) = form.raw(linger) {
            prop_assert_eq!(form.linger(raw), linger);
        }
    }
}
