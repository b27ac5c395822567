//! E. Wait (on, N), on a socket in non-blocking mode.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use lastbyte::{Errno, Fate, Policy};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use procfs::net::TcpState;
use socket2::SockRef;

use super::Row;
use super::d_wait::{LIMIT, PATIENCE, WAIT, stuffed};
use crate::findings::{AT_ONCE_MS, Findings};
use crate::harness::{End, From, Pair, Peer, Setup, fill, ms, row_of};
use crate::stage::{Stage, Stop, await_state};
use crate::subject::{Handle, Told};

const MANUAL: &str =
    "If the socket is set to non-blocking, close returns at once (on Windows with WSAEWOULDBLOCK).";

/// A stuffed connection in non-blocking mode, and what was written to it.
fn nonblocking(setup: Setup, bytes: usize) -> Result<(Pair, u64), Stop> {
    let pair = Pair::new(setup)?;
    SockRef::from(&pair.ours).set_nonblocking(true)?;
    let written = fill(&pair.ours, bytes)?;
    Ok((pair, written))
}

pub(super) const E1: Row = Row {
    id: "E1",
    shows: "nonblocking_close_returns_at_once",
    manual: MANUAL,
    alone: false,
    run: e1,
};

fn e1(stage: &Stage) -> Result<Findings, Stop> {
    let mut v = stage.findings();
    let (pair, written) = nonblocking(stuffed(), 200_000)?;
    let Pair {
        ours,
        mut peer,
        conn,
    } = pair;
    let call = stage.call(ours, Policy::wait(WAIT));
    let Some(mut told) = v.returned(call.wait(LIMIT), LIMIT) else {
        return Ok(v);
    };
    v.at_once(&told);
    v.saw(format!("{told}"));
    v.errno(&told, Some(Errno::EWOULDBLOCK));
    let Some(mut handle) = told.handle.take() else {
        v.demand(false, || "no handle to finish the close with".to_owned());
        v.saw("no handle");
        return Ok(v);
    };
    v.demand(handle.finish().is_none(), || {
        "the handle claimed an end that was not".to_owned()
    });
    let still = row_of(&conn)?;
    v.demand(
        still
            .as_ref()
            .is_some_and(|row| row.owned && row.state == TcpState::FinWait1),
        || format!("the connection did not live on: {still:?}"),
    );
    // And the handle is alive: the peer reads, the handle finishes.
    let got = peer.read_all(PATIENCE);
    v.arrived(&got, written);
    match finish(handle.as_mut(), LIMIT) {
        Some(end) => {
            v.errno(&end, None);
            v.saw(format!(
                "a handle that finished later, saying {}",
                words(&end)
            ));
        }
        None => v.demand(false, || "the handle never finished".to_owned()),
    }
    if let Ok(wire) = stage.wire(&conn) {
        v.trace("non-blocking close", &told, wire);
    }
    Ok(v)
}

fn words(told: &Told) -> String {
    match (&told.account, told.error) {
        (Some(account), None) => account.to_string(),
        (Some(account), Some(error)) => format!("{error}, {account}"),
        (None, Some(error)) => error.to_string(),
        (None, None) => "0".to_owned(),
    }
}

/// Drives a handle as an event loop does: asks it only when it is readable.
fn finish(handle: &mut dyn Handle, limit: Duration) -> Option<Told> {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(handle.descriptor(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Err(nix::Error::EINTR) | Ok(0) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        if let Some(told) = handle.finish() {
            return Some(told);
        }
    }
}

pub(super) const E2: Row = Row {
    id: "E2",
    shows: "finishing_later_tells_the_same",
    manual: "(As with a blocking socket: success when all is acknowledged, else an error.)",
    alone: false,
    run: e2,
};

/// What the peer does while the handle is open.
#[derive(Clone, Copy, Debug)]
enum Peers {
    Reads,
    Stops,
    Resets,
}

impl Peers {
    const fn words(self) -> &'static str {
        match self {
            Peers::Reads => "peer reads",
            Peers::Stops => "peer stops",
            Peers::Resets => "peer resets",
        }
    }
}

fn e2(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    let mut v = stage.findings();
    for (peers, fate, error) in [
        (Peers::Reads, Fate::Delivered, None),
        (Peers::Stops, Fate::TimedOut, Some(Errno::EWOULDBLOCK)),
        (Peers::Resets, Fate::Reset, Some(Errno::ECONNRESET)),
    ] {
        let (pair, written) = nonblocking(stuffed(), 200_000)?;
        let Pair { ours, peer, conn } = pair;
        let mut peer = Some(peer);
        // On a thread, since a subject may block here.
        let begun = begin(stage, ours, Policy::wait(WAIT));
        await_state(&conn, &TcpState::FinWait1)?;
        match (peers, peer.as_mut()) {
            (Peers::Reads, Some(peer)) => {
                let got = peer.read_all(PATIENCE);
                v.arrived(&got, written);
            }
            (Peers::Resets, _) => drop(peer.take().map(Peer::reset)),
            _ => {}
        }
        let Some(mut told) = v.returned(begun.recv_timeout(LIMIT).ok(), LIMIT) else {
            return Ok(v);
        };
        v.at_once(&told);
        let Some(mut handle) = told.handle.take() else {
            v.demand(told.account.is_some() || !stage.subject.reports(), || {
                "neither a handle nor a report".to_owned()
            });
            v.errno(&told, error);
            v.saw(format!("{}: {told}, and never told more", peers.words()));
            continue;
        };
        let Some(end) = v.returned(finish(handle.as_mut(), LIMIT), LIMIT) else {
            return Ok(v);
        };
        let wire = stage.wire(&conn)?;
        v.errno(&end, error);
        v.account(stage.subject.reports(), &end, fate, written, &wire);
        match peers {
            Peers::Reads => {}
            Peers::Stops => {
                v.on_time("finished", &told, end.returned, WAIT);
                match wire.rst(From::Us) {
                    Some(at) => v.on_time("RST went out", &told, at, WAIT),
                    None => v.demand(false, || "no RST was seen".to_owned()),
                }
            }
            Peers::Resets => {
                let late = wire.rst(From::Peer).map(|at| end.returned - at);
                v.demand(late.is_some_and(|ms| ms <= AT_ONCE_MS), || {
                    format!("told of the reset after {late:?} ms")
                });
            }
        }
        v.saw(format!(
            "{}: {} after {}",
            peers.words(),
            words(&end),
            ms(end.returned - told.called)
        ));
        told.returned = end.returned;
        v.trace(peers.words(), &told, wire);
    }
    Ok(v)
}

/// `Subject::begin` on a thread of its own.
fn begin(stage: &Stage, socket: OwnedFd, policy: Policy) -> std::sync::mpsc::Receiver<Told> {
    let (send, told) = std::sync::mpsc::channel();
    let subject = std::sync::Arc::clone(&stage.subject);
    std::thread::spawn(move || {
        // The row may have given up on us.
        let _ = send.send(subject.begin(socket, policy));
    });
    told
}

pub(super) const E3: Row = Row {
    id: "E3",
    shows: "dropped_handle_goes_on_to_its_deadline",
    manual: "(The manual knows no handle.)",
    alone: false,
    run: e3,
};

fn e3(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    if !stage.subject.reports() {
        return Err(Stop::NotRun(
            "close(2) gives no handle that could be dropped".into(),
        ));
    }
    let mut v = stage.findings();
    for reads in [true, false] {
        let (pair, written) = nonblocking(stuffed(), 200_000)?;
        let Pair {
            ours,
            mut peer,
            conn,
        } = pair;
        let begun = begin(stage, ours, Policy::wait(WAIT));
        let Some(mut told) = v.returned(begun.recv_timeout(LIMIT).ok(), LIMIT) else {
            return Ok(v);
        };
        let Some(handle) = told.handle.take() else {
            v.demand(false, || "no handle".to_owned());
            return Ok(v);
        };
        await_state(&conn, &TcpState::FinWait1)?;
        drop(handle);
        if reads {
            let got = peer.read_all(PATIENCE);
            v.arrived(&got, written);
            peer.close();
            await_released(&mut v, &conn)?;
            v.saw(format!(
                "dropped, and the peer got {} of {written} bytes, then {}",
                got.bytes, got.end
            ));
        } else {
            // The peer's window is shut: the RST is what it sees next.
            let at = peer.wait_error(LIMIT);
            let got = peer.read_all(PATIENCE);
            v.demand(got.end == End::Error(Errno::ECONNRESET), || {
                format!("the peer saw {}", got.end)
            });
            match (at, stage.wire(&conn)?.rst(From::Us)) {
                (Some(_), Some(rst)) => {
                    v.on_time("RST went out", &told, rst, WAIT);
                    v.saw(format!(
                        "with a peer that stops: RST {} after the call",
                        ms(rst - told.called)
                    ));
                }
                _ => v.demand(false, || "no RST at the deadline".to_owned()),
            }
            await_released(&mut v, &conn)?;
        }
        v.trace(
            if reads { "peer reads" } else { "peer stops" },
            &told,
            stage.wire(&conn)?,
        );
    }
    Ok(v)
}

/// Demands that no descriptor holds our side any more, soon.
fn await_released(v: &mut Findings, conn: &crate::harness::Conn) -> Result<(), Stop> {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match row_of(conn)? {
            Some(row) if row.owned => {}
            _ => return Ok(()),
        }
        if Instant::now() > until {
            v.demand(false, || "the descriptor leaked".to_owned());
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
