//! The hook sees every form of close, once, with the peer's address.
//!
//! One test only: the hook is the process's.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use common::{pair, readable, reset};
use lastbyte::{Closer, Closing, Fate, Linger, Policy, Report};

const LONG: Duration = Duration::from_secs(20);

type Told = (Option<SocketAddr>, Option<Report>);

#[test]
fn the_hook_sees_every_form_once() {
    let (send, told) = mpsc::channel::<Told>();
    let set = lastbyte::on_report(move |peer, result| {
        let report = match result {
            Ok(report) => Some(*report),
            Err(error) => error.report().copied(),
        };
        send.send((peer, report)).unwrap();
        panic!("a test's panic, as expected");
    });
    assert!(set);
    assert!(!lastbyte::on_report(|_, _| {}), "the first one stays");
    let next = || told.recv_timeout(LONG).unwrap();
    let wait = Policy::wait(LONG);

    let expect = |peer: &TcpStream, fate: Fate| {
        let (address, report) = next();
        assert_eq!(address, Some(peer.local_addr().unwrap()));
        assert_eq!(report.unwrap().fate, fate);
        assert!(told.try_recv().is_err(), "once");
    };
    let (ours, peer) = pair();
    lastbyte::close(ours, wait).unwrap();
    expect(&peer, Fate::Delivered);

    let (ours, peer) = pair();
    lastbyte::close(ours, Linger::Abort).unwrap();
    expect(&peer, Fate::Aborted);

    let (ours, peer) = pair();
    let mut closing = Closing::begin(ours, wait).unwrap();
    while closing.try_finish().is_err() {
        assert!(readable(&closing, LONG));
    }
    expect(&peer, Fate::Delivered);

    // Whoever drops it is not told; the hook is.
    let (ours, peer) = pair();
    common::fill(&ours);
    drop(Closing::begin(ours, wait).unwrap());
    let address = peer.local_addr().unwrap();
    reset(peer);
    let (peer, report) = next();
    assert_eq!((peer, report.unwrap().fate), (Some(address), Fate::Reset));

    // At once, and when the fate is known.
    let (ours, peer) = pair();
    common::fill(&ours);
    lastbyte::close(ours, Linger::Off).unwrap();
    expect(&peer, Fate::Detached);
    let address = peer.local_addr().unwrap();
    common::read_all(&peer).1.unwrap();
    let (peer, report) = next();
    assert_eq!(
        (peer, report.unwrap().fate),
        (Some(address), Fate::Delivered)
    );

    let closer = Closer::new().unwrap();
    for policy in [wait, Policy::off().with_receipt(true)] {
        let (ours, peer) = pair();
        closer.close(ours, policy, |_| {}).unwrap();
        let address = peer.local_addr().unwrap();
        drop(peer);
        let (peer, report) = next();
        assert_eq!(peer, Some(address));
        assert_eq!(report.unwrap().lost, Some(0));
    }

    // Not the end of a connection.
    let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
    lastbyte::close(socket, wait).unwrap_err();
    assert!(closer.wait_idle(LONG));
    assert!(told.try_recv().is_err());
}
