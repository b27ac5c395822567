//! The hook sees every form of close, once, with the connection's id and addresses.
//!
//! One test only: the hook is the process's.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::time::Duration;

use common::{pair, readable, reset};
use lastbyte::{Closer, Closing, Connection, Fate, Linger, Policy, Report};

const LONG: Duration = Duration::from_secs(20);

type Told = (Connection, Option<Report>);

/// By the kernel, and not by way of the library: id, local, peer.
fn who(stream: &TcpStream) -> (Option<u64>, Option<SocketAddr>, Option<SocketAddr>) {
    let mut cookie = 0_u64;
    let mut len = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: `cookie` has room for `len` bytes.
    let rc = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &mut len,
        )
    };
    assert_eq!(rc, 0);
    assert!(cookie > 0);
    let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    (Some(cookie), Some(local), Some(peer))
}

#[test]
fn the_hook_sees_every_form_once() {
    let (send, told) = mpsc::channel::<Told>();
    let set = lastbyte::on_report(move |connection, result| {
        let report = match result {
            Ok(report) => Some(*report),
            Err(error) => error.report().copied(),
        };
        send.send((*connection, report)).unwrap();
        panic!("a test's panic, as expected");
    });
    set.unwrap();
    let error = lastbyte::on_report(|_, _| {}).unwrap_err();
    assert!(error.to_string().contains("it stays"), "{error}");
    let next = || told.recv_timeout(LONG).unwrap();
    let wait = Policy::wait(LONG);

    let expect = |who, fate: Fate| {
        let (connection, report) = next();
        assert_eq!((connection.id, connection.local, connection.peer), who);
        assert_eq!(report.unwrap().fate, fate);
        assert!(told.try_recv().is_err(), "once");
    };
    let (ours, _peer) = pair();
    let whole = who(&ours);
    let asked = Connection::of(&ours);
    assert_eq!((asked.id, asked.local, asked.peer), whole);
    lastbyte::close(ours, wait).unwrap();
    expect(whole, Fate::Delivered);

    let (ours, _peer) = pair();
    let whole = who(&ours);
    lastbyte::close(ours, Linger::Abort).unwrap();
    expect(whole, Fate::Aborted);

    let (ours, _peer) = pair();
    let whole = who(&ours);
    let mut closing = Closing::begin(ours, wait).unwrap();
    while closing.try_finish().is_err() {
        assert!(readable(&closing, LONG));
    }
    expect(whole, Fate::Delivered);

    // Whoever drops it is not told; the hook is.
    let (ours, peer) = pair();
    let whole = who(&ours);
    common::fill(&ours);
    drop(Closing::begin(ours, wait).unwrap());
    reset(peer);
    expect(whole, Fate::Reset);

    // At once, and when the fate is known.
    let (ours, peer) = pair();
    let whole = who(&ours);
    common::fill(&ours);
    lastbyte::close(ours, Linger::Off).unwrap();
    expect(whole, Fate::Detached);
    common::read_all(&peer).1.unwrap();
    expect(whole, Fate::Delivered);

    let closer = Closer::new().unwrap();
    for policy in [wait, Policy::off().with_receipt(true)] {
        let (ours, peer) = pair();
        let whole = who(&ours);
        closer.close(ours, policy, |_| {}).unwrap();
        drop(peer);
        let (connection, report) = next();
        assert_eq!((connection.id, connection.local, connection.peer), whole);
        assert_eq!(report.unwrap().lost, Some(0));
    }

    // One that was gone already has no peer any more.
    let (ours, peer) = pair();
    let (id, local, _) = who(&ours);
    reset(peer);
    assert!(common::hung_up(&ours, LONG));
    lastbyte::close(ours, wait).unwrap_err();
    expect((id, local, None), Fate::Reset);

    // Not the end of a connection.
    let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
    lastbyte::close(socket, wait).unwrap_err();
    assert!(closer.wait_idle(LONG));
    assert!(told.try_recv().is_err());
}
