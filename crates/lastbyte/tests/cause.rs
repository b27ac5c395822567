//! Who broke a connection: `reset` is the peer's RST and nothing else.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

#[macro_use]
extern crate lastbyte_testkit;

mod common;

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::forms::FORMS;
use common::{blackhole, pair, read_all, reset};
use lastbyte::{Fate, Policy, Report};
use lastbyte_testkit::{ignore, need, need_root};

const LONG: Duration = Duration::from_secs(20);

fn main() -> std::process::ExitCode {
    lastbyte_testkit::main()
}

fn set(stream: &TcpStream, level: i32, name: i32, value: i32) {
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
    assert_eq!(rc, 0);
}

/// A connection that has delivered ten bytes and FIN, to a peer that keeps it open.
fn delivered() -> (TcpStream, TcpStream) {
    let (mut ours, peer) = pair();
    ours.write_all(b"0123456789").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&peer).0, 10);
    (ours, peer)
}

fn silence(stream: &TcpStream) {
    if let Err(error) = blackhole(stream) {
        ignore(&format!("this user can attach no filter: {error}"));
    }
}

fn check(report: &Report, form: &str, fate: Fate, errno: i32, rst: bool) {
    assert_eq!(report.fate, fate, "{form} {report}");
    assert_eq!(report.error.unwrap().raw(), errno, "{form}");
    assert_eq!(report.rst_sent, Some(rst), "{form} {report}");
    assert_eq!((report.acked, report.lost), (Some(10), Some(0)), "{form}");
}

/// A keepalive that nobody answers sends an RST before the kernel gives up, as does
/// the user time-out where nothing is queued: packets were the oracle for that.
#[test]
fn a_keepalives_death_during_a_confirmation_is_a_failure() {
    // Here, not in a thread, whose panic would be a failure.
    silence(&pair().0);
    for user_timeout in [false, true] {
        thread::scope(|scope| {
            for &(form, close) in FORMS {
                scope.spawn(move || {
                    let (ours, peer) = delivered();
                    set(&ours, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
                    set(&ours, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 1);
                    set(&ours, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 1);
                    if user_timeout {
                        set(&ours, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 700);
                    } else {
                        set(&ours, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 1);
                    }
                    silence(&peer);
                    let error = close(ours, Policy::wait(LONG).with_confirm(true)).unwrap_err();
                    let report = error.report().unwrap();
                    check(report, form, Fate::Failed, libc::ETIMEDOUT, true);
                });
            }
        });
    }
}

#[test]
fn the_peers_reset_during_a_confirmation_is_a_reset() {
    for &(form, close) in FORMS {
        let (ours, peer) = delivered();
        let peer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            reset(peer);
        });
        let error = close(ours, Policy::wait(LONG).with_confirm(true)).unwrap_err();
        peer.join().unwrap();
        let report = error.report().unwrap();
        check(report, form, Fate::Reset, libc::ECONNRESET, false);
    }
}

#[test]
fn an_administrators_end_is_a_failure() {
    need("ss", "iproute2");
    need_root();
    for &(form, close) in FORMS {
        let (ours, _peer) = delivered();
        let port = ours.local_addr().unwrap().port().to_string();
        let killer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            let output = Command::new("ss")
                .args(["-K", "sport", "=", &port])
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stdout).contains(&port)
        });
        let result = close(
            ours,
            Policy::wait(Duration::from_secs(3)).with_confirm(true),
        );
        if !killer.join().unwrap() {
            ignore("this kernel lets nobody end connections (INET_DIAG_DESTROY)");
        }
        let error = result.unwrap_err();
        let report = error.report().unwrap();
        check(report, form, Fate::Failed, libc::ECONNABORTED, true);
    }
}

/// Another holder of the connection disconnects it: the error looks like the peer's.
#[test]
fn another_holders_disconnect_is_a_failure() {
    for &(form, close) in FORMS {
        let (ours, _peer) = pair();
        let written = common::fill(&ours);
        assert!(written > 0);
        let other = ours.try_clone().unwrap();
        let holder = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            let nowhere = [0u8; 16];
            // SAFETY: `nowhere` is as long as a sockaddr, and AF_UNSPEC is 0.
            unsafe { libc::connect(other.as_raw_fd(), nowhere.as_ptr().cast(), 16) }
        });
        let error = close(ours, Policy::wait(LONG)).unwrap_err();
        assert_eq!(holder.join().unwrap(), 0);
        let report = error.report().unwrap();
        assert_eq!(report.fate, Fate::Failed, "{form} {report}");
        assert_eq!((report.acked, report.lost), (None, None), "{form}");
        assert_eq!(report.rst_sent, None, "{form}");
    }
}
