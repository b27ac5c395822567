//! TCP Fast Open (RFC 7413): a close before the handshake is over.
//!
//! The kernel's switch for it belongs to a network namespace, so each test runs in one
//! of its own, as a process of its own.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

#[macro_use]
extern crate lastbyte_testkit;

mod common;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::forms::{FORMS, Form};
use common::{blackhole, read_all, unfilter};
use lastbyte::{Fate, Linger, Policy};
use lastbyte_testkit::{ignore, need};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
/// Says that this process is in its namespace already.
const INSIDE: &str = "LASTBYTE_TEST_FAST_OPEN_INSIDE";

fn main() -> std::process::ExitCode {
    lastbyte_testkit::main()
}

/// Runs the test of this name in a namespace where Fast Open is on for both sides, or
/// returns true there.
fn in_a_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        common::loopback_up();
        // Client and server, without a cookie.
        std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", "1543").unwrap();
        return true;
    }
    need("unshare", "util-linux");
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]);
        command
    };
    if !unshare().arg("true").status().unwrap().success() {
        ignore("this user can make no network namespace");
    }
    let output = unshare()
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("1 passed"), "{said}{errors}");
    false
}

/// By IPv4 and IPv6, all at once.
fn every_form(test: impl Fn(&str, &str, Form) + Sync) {
    thread::scope(|scope| {
        for address in ADDRESSES {
            for &(form, close) in FORMS {
                let test = &test;
                scope.spawn(move || test(address, form, close));
            }
        }
    });
}

fn listen(address: &str) -> TcpListener {
    let listener = TcpListener::bind(address).unwrap();
    let backlog: libc::c_int = 16;
    // SAFETY: one int, of the length passed.
    let rc = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN,
            (&raw const backlog).cast(),
            size_of_val(&backlog) as libc::socklen_t,
        )
    };
    assert_eq!(rc, 0);
    listener
}

/// A client whose SYN carries `data`, and which hears nothing yet.
fn client(to: SocketAddr, data: &[u8]) -> TcpStream {
    let family = if to.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // SAFETY: socket(2) takes no pointer, and the new descriptor is owned here.
    let client = unsafe {
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        TcpStream::from_raw_fd(libc::socket(family, kind, 0))
    };
    blackhole(&client).unwrap();
    let address = socket2::SockAddr::from(to);
    // SAFETY: `data` and `address` are alive and of the lengths passed.
    let sent = unsafe {
        libc::sendto(
            client.as_raw_fd(),
            data.as_ptr().cast(),
            data.len(),
            libc::MSG_FASTOPEN,
            address.as_ptr().cast(),
            address.len(),
        )
    };
    assert_eq!(sent, data.len() as isize, "{}", io::Error::last_os_error());
    client
}

/// A server's connection whose handshake is not over, its client, and what the
/// server wrote.
fn half_open(address: &str) -> (TcpStream, TcpStream, u64) {
    let listener = listen(address);
    let client = client(listener.local_addr().unwrap(), b"request");
    let (mut server, _) = listener.accept().unwrap();
    server.read_exact(&mut [0; 7]).unwrap();
    let written = common::fill(&server);
    (server, client, written)
}

const ADDRESSES: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

#[test]
fn everything_arrives_once_the_handshake_is_over() {
    if !in_a_namespace("everything_arrives_once_the_handshake_is_over") {
        return;
    }
    every_form(|address, form, close| {
        let (server, client, written) = half_open(address);
        let reader = thread::spawn(move || {
            thread::sleep(SHORT);
            unfilter(&client);
            client.set_nonblocking(false).unwrap();
            thread::sleep(SHORT);
            (&client).write_all(b"more of the request").unwrap();
            read_all(&client)
        });
        let report = close(server, Policy::wait(LONG)).unwrap();
        assert_eq!(report.fate, Fate::Delivered, "{address} {form}");
        assert!(report.elapsed >= SHORT, "{form} {report}");
        assert_eq!((report.acked, report.lost), (Some(written), Some(0)));
        let (read, end) = reader.join().unwrap();
        assert_eq!((read, end.is_ok()), (written, true), "{address} {form}");
    });
}

#[test]
fn what_is_not_answered_in_time_is_lost() {
    if !in_a_namespace("what_is_not_answered_in_time_is_lost") {
        return;
    }
    every_form(|address, form, close| {
        let (server, client, written) = half_open(address);
        let error = close(server, Policy::wait(SHORT)).unwrap_err();
        let report = error.report().unwrap();
        assert_eq!(report.fate, Fate::TimedOut, "{address} {form}");
        assert_eq!((report.acked, report.lost), (Some(0), Some(written)));
        assert_eq!(report.rst_sent, Some(true));
        drop(client);
    });
}

#[test]
fn an_abort_counts_what_it_discards() {
    if !in_a_namespace("an_abort_counts_what_it_discards") {
        return;
    }
    every_form(|address, form, close| {
        let (server, client, written) = half_open(address);
        let report = close(server, Policy::abort()).unwrap();
        assert_eq!(report.fate, Fate::Aborted, "{address} {form}");
        assert_eq!((report.acked, report.lost), (Some(0), Some(written)));
        drop(client);
    });
}

#[test]
fn off_is_delivered_in_the_background() {
    if !in_a_namespace("off_is_delivered_in_the_background") {
        return;
    }
    for address in ADDRESSES {
        let (server, client, written) = half_open(address);
        let report = lastbyte::close(server, Linger::Off).unwrap();
        assert_eq!((report.fate, report.lost), (Fate::Detached, None));
        unfilter(&client);
        client.set_nonblocking(false).unwrap();
        let (read, end) = read_all(&client);
        assert_eq!((read, end.is_ok()), (written, true), "{address}");
    }
}

/// The connecting side: data that send() accepted into a SYN which nobody answers.
#[test]
fn data_in_an_unanswered_syn_is_lost_data() {
    if !in_a_namespace("data_in_an_unanswered_syn_is_lost_data") {
        return;
    }
    every_form(|address, form, close| {
        let listener = listen(address);
        let ours = client(listener.local_addr().unwrap(), &[7; 500]);
        let error = close(ours, Policy::wait(SHORT)).unwrap_err();
        let report = error.report().unwrap();
        assert_eq!(report.fate, Fate::TimedOut, "{address} {form} {report}");
        assert_eq!((report.acked, report.lost), (Some(0), Some(500)));
        assert_eq!(report.rst_sent, Some(false));
    });
}

/// No receipt comes of a connection that its close would discard: it is held, and given
/// up when it makes no progress.
#[test]
fn a_receipt_of_an_unanswered_syn_has_a_bound() {
    if !in_a_namespace("a_receipt_of_an_unanswered_syn_has_a_bound") {
        return;
    }
    let listener = listen("127.0.0.1:0");
    let ours = client(listener.local_addr().unwrap(), &[7; 500]);
    let closer = lastbyte::Closer::new().unwrap();
    let (send, result) = std::sync::mpsc::channel();
    let policy = Policy::off().with_receipt(true).with_stall(SHORT);
    let then = move |found| send.send(found).unwrap();
    closer.close(ours, policy, then).unwrap();
    let error = result.recv_timeout(LONG).unwrap().unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::Stalled, "{report}");
    assert_eq!((report.acked, report.lost), (Some(0), Some(500)));
    assert_eq!(report.rst_sent, Some(false));
}

#[test]
fn data_in_a_syn_that_is_answered_arrives() {
    if !in_a_namespace("data_in_a_syn_that_is_answered_arrives") {
        return;
    }
    every_form(|address, form, close| {
        let listener = listen(address);
        let ours = client(listener.local_addr().unwrap(), &[7; 500]);
        let (server, _) = listener.accept().unwrap();
        let reader = thread::spawn(move || read_all(&server));
        let heard = ours.try_clone().unwrap();
        let heal = thread::spawn(move || {
            thread::sleep(SHORT);
            unfilter(&heard);
        });
        let report = close(ours, Policy::wait(LONG)).unwrap();
        heal.join().unwrap();
        assert_eq!(report.fate, Fate::Delivered, "{address} {form}");
        assert_eq!((report.acked, report.lost), (Some(500), Some(0)));
        let (read, end) = reader.join().unwrap();
        assert_eq!((read, end.is_ok()), (500, true), "{address} {form}");
    });
}

#[test]
fn a_refused_syn_is_a_failure_with_its_error() {
    if !in_a_namespace("a_refused_syn_is_a_failure_with_its_error") {
        return;
    }
    for &(form, close) in FORMS {
        let nobody = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let ours = client(nobody, &[7; 500]);
        let heard = ours.try_clone().unwrap();
        let heal = thread::spawn(move || {
            thread::sleep(SHORT);
            unfilter(&heard);
        });
        let error = close(ours, Policy::wait(LONG)).unwrap_err();
        heal.join().unwrap();
        let report = error.report().unwrap();
        assert_eq!(report.fate, Fate::Failed, "{form} {report}");
        assert_eq!(report.error.unwrap().raw(), libc::ECONNREFUSED);
        assert_eq!((report.acked, report.lost), (Some(0), Some(500)));
    }
}
