//! D. Wait (on, N), blocking.

use std::time::Duration;

use lastbyte::{Errno, Fate, Policy};
use procfs::net::TcpState;
use socket2::SockRef;

use super::Row;
use crate::findings::{AT_ONCE_MS, Findings};
use crate::harness::{End, From, Pair, Setup, Stamp, fill, fill_from, ms};
use crate::stage::{Stage, Stop, await_state};

/// The wait asked for: a whole second, so that SO_LINGER can hold it too.
pub(super) const WAIT: Duration = Duration::from_secs(1);
/// When a close that should have ended by itself is given up.
pub(super) const LIMIT: Duration = Duration::from_millis(2500);
/// How long the peer waits for more.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
const TIMEOUT: &str = "If the time runs out first close returns an error (EWOULDBLOCK), the unsent data is lost and the socket is forcibly closed.";

/// A peer that takes little while it does not read.
pub(super) fn stuffed() -> Setup {
    Setup {
        peer_buffer: Some(1 << 15),
        our_buffer: Some(1 << 18),
        ..Setup::default()
    }
}

pub(super) const D2: Row = Row {
    id: "D2",
    shows: "timeout_discards_and_resets",
    manual: TIMEOUT,
    alone: false,
    run: d2,
};

fn d2(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    let mut v = stage.findings();
    // The peer stops reading: its window closes, the rest is never sent.
    for we_accept in [false, true] {
        let Pair {
            ours,
            mut peer,
            conn,
        } = Pair::new(Setup {
            we_accept,
            ..stuffed()
        })?;
        let written = fill(&ours, 200_000)?;
        let call = stage.call(ours, Policy::wait(WAIT));
        let Some(told) = v.returned(call.wait(LIMIT), LIMIT) else {
            return Ok(v);
        };
        let got = peer.read_all(PATIENCE);
        let wire = stage.wire(&conn)?;

        v.errno(&told, Some(Errno::EWOULDBLOCK));
        v.on_time("returned", &told, told.returned, WAIT);
        match wire.rst(From::Us) {
            Some(at) => v.on_time("RST went out", &told, at, WAIT),
            None => v.demand(false, || "no RST was seen".to_owned()),
        }
        v.demand(
            got.end == End::Error(Errno::ECONNRESET) && Some(got.bytes) == wire.acked(),
            || format!("the peer got {} bytes, then {}", got.bytes, got.end),
        );
        v.account(
            stage.subject.reports(),
            &told,
            Fate::TimedOut,
            written,
            &wire,
        );
        if !we_accept {
            v.saw(format!(
                "{told}; the peer got {} of {written} bytes, then {}",
                got.bytes, got.end
            ));
        }
        v.trace(
            if we_accept { "accepted" } else { "connected" },
            &told,
            wire,
        );
    }
    Ok(v)
}

pub(super) const D3: Row = Row {
    id: "D3",
    shows: "reset_by_the_peer_is_an_error_at_once",
    manual: "Success means data and FIN acknowledged; otherwise close returns an error, and the unsent data is lost.",
    alone: false,
    run: d3,
};

fn d3(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    let mut v = stage.findings();
    let Pair {
        ours,
        mut peer,
        conn,
    } = Pair::new(stuffed())?;
    let written = fill(&ours, 200_000)?;
    let call = stage.call(ours, Policy::wait(WAIT * 2));
    await_state(&conn, &TcpState::FinWait1)?;
    let read = peer.read_some(1000, PATIENCE).bytes;
    peer.reset();
    let Some(told) = v.returned(call.wait(LIMIT), LIMIT) else {
        return Ok(v);
    };
    let wire = stage.wire(&conn)?;
    v.errno(&told, Some(Errno::ECONNRESET));
    v.account(stage.subject.reports(), &told, Fate::Reset, written, &wire);
    match wire.rst(From::Peer) {
        Some(at) => {
            let late = told.returned - at;
            v.demand((0.0..=AT_ONCE_MS).contains(&late), || {
                format!("returned {} after the peer's RST", ms(late))
            });
            v.saw(format!(
                "{told}, {} after the peer's RST; the peer had read {read} of {written} bytes",
                ms(late)
            ));
        }
        None => return Err(Stop::Broken("the peer's RST was not captured".into())),
    }
    v.trace("reset during the wait", &told, wire);
    Ok(v)
}

pub(super) const D4: Row = Row {
    id: "D4",
    shows: "delivered_is_not_confirmed",
    manual: "Success only tells that data and FIN were acknowledged by the peer's TCP, not whether the peer's application has read them.",
    alone: false,
    run: d4,
};

fn d4(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    let mut v = stage.findings();

    // Acknowledged, and not a byte read.
    let Pair {
        ours,
        mut peer,
        conn,
    } = Pair::new(Setup::default())?;
    let written = fill(&ours, 10_000)?;
    let call = stage.call(ours, Policy::wait(WAIT));
    let Some(told) = v.returned(call.wait(LIMIT), LIMIT) else {
        return Ok(v);
    };
    let wire = stage.wire(&conn)?;
    let read = peer.read_some(0, Duration::ZERO).bytes;
    v.errno(&told, None);
    v.demand(
        wire.fin_acked_at().is_some_and(|at| at <= told.returned),
        || "returned success before the FIN was acknowledged".to_owned(),
    );
    v.account(
        stage.subject.reports(),
        &told,
        Fate::Delivered,
        written,
        &wire,
    );
    v.saw(format!(
        "{told}, while the application had read {read} bytes"
    ));
    let got = peer.read_all(PATIENCE);
    v.arrived(&got, written);
    v.trace("acknowledged, not read", &told, wire);

    // And when asked to, waiting for the peer's own close as well.
    if stage.subject.reports() {
        let Pair {
            ours,
            mut peer,
            conn,
        } = Pair::new(Setup::default())?;
        let written = fill(&ours, 10_000)?;
        let call = stage.call(ours, Policy::wait(WAIT).with_confirm(true));
        // Ours is acknowledged; whoever did not wait for the peer is back now.
        await_state(&conn, &TcpState::FinWait2)?;
        let early = call.wait(Duration::from_millis(100));
        v.demand(early.is_none(), || {
            "with confirm it did not wait for the peer's close".to_owned()
        });
        if let Some(told) = early {
            v.saw(format!("with confirm it {told}, the peer still open"));
            return Ok(v);
        }
        let got = peer.read_all(PATIENCE);
        v.arrived(&got, written);
        peer.close();
        let Some(told) = v.returned(call.wait(LIMIT), LIMIT) else {
            return Ok(v);
        };
        let wire = stage.wire(&conn)?;
        v.errno(&told, None);
        v.demand(
            wire.fin(From::Peer).is_some_and(|at| at <= told.returned),
            || "said so before the peer's FIN".to_owned(),
        );
        v.account(true, &told, Fate::Confirmed, written, &wire);
        v.saw(format!("with confirm {told}, after the peer's own FIN"));
        v.trace("with confirm", &told, wire);
    }
    Ok(v)
}

pub(super) const D6: Row = Row {
    id: "D6",
    shows: "unread_input_does_not_cost_the_output",
    manual: "While data remains in the send buffer the process sleeps until all of it is sent and acknowledged.",
    alone: false,
    run: d6,
};

fn d6(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    let mut v = stage.findings();
    const INPUT: usize = 3000;
    for late in [false, true] {
        let label = if late {
            "input during the wait"
        } else {
            "unread input"
        };
        let Pair {
            ours,
            mut peer,
            conn,
        } = Pair::new(stuffed())?;
        let written = fill(&ours, 200_000)?;
        if !late {
            peer.send_all(INPUT)?;
        }
        let call = stage.call(ours, Policy::wait(WAIT * 2));
        if late {
            await_state(&conn, &TcpState::FinWait1)?;
            // Where it meets a reset the rest of the row shows it.
            let _ = peer.send_all(INPUT);
        }
        let got = peer.read_all(PATIENCE);
        let Some(told) = v.returned(call.wait(LIMIT), LIMIT) else {
            return Ok(v);
        };
        let wire = stage.wire(&conn)?;
        v.errno(&told, None);
        v.arrived(&got, written);
        v.account(
            stage.subject.reports(),
            &told,
            Fate::Delivered,
            written,
            &wire,
        );
        if let Some(account) = told.account {
            v.demand(account.unread == Some(INPUT as u64), || {
                format!(
                    "{INPUT} input bytes were discarded, the report says {:?}",
                    account.unread
                )
            });
        }
        v.saw(format!(
            "{label}: {told}; the peer got {} of {written} bytes, then {}",
            got.bytes, got.end
        ));
        v.trace(label, &told, wire);
    }
    Ok(v)
}

pub(super) const D7: Row = Row {
    id: "D7",
    shows: "network_gone_is_a_timeout_or_the_kernels_error",
    manual: TIMEOUT,
    alone: false,
    run: d7,
};

fn d7(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    let mut v = stage.findings();

    // Nothing is acknowledged any more; the deadline comes first.
    let Pair { ours, peer, conn } = Pair::new(Setup::default())?;
    let before = fill(&ours, 5000)?;
    await_acked(stage, &conn, before)?;
    peer.blackhole()?;
    let written = before + fill_from(&ours, before, 5000)?;
    let call = stage.call(ours, Policy::wait(WAIT));
    let Some(told) = v.returned(call.wait(LIMIT), LIMIT) else {
        return Ok(v);
    };
    let wire = stage.wire(&conn)?;
    v.errno(&told, Some(Errno::EWOULDBLOCK));
    v.on_time("returned", &told, told.returned, WAIT);
    match wire.rst(From::Us) {
        Some(at) => v.on_time("RST went out", &told, at, WAIT),
        None => v.demand(false, || "no RST was seen".to_owned()),
    }
    v.account(
        stage.subject.reports(),
        &told,
        Fate::TimedOut,
        written,
        &wire,
    );
    v.saw(format!("{told} of {written}"));
    v.trace("blackhole, the deadline first", &told, wire);

    // The kernel gives up first.
    let gives_up = Duration::from_millis(400);
    let Pair { ours, peer, conn } = Pair::new(Setup::default())?;
    SockRef::from(&ours).set_tcp_user_timeout(Some(gives_up))?;
    peer.blackhole()?;
    let written = fill(&ours, 5000)?;
    let call = stage.call(ours, Policy::wait(WAIT * 2));
    let Some(told) = v.returned(call.wait(LIMIT), LIMIT) else {
        return Ok(v);
    };
    let wire = stage.wire(&conn)?;
    v.errno(&told, Some(Errno::ETIMEDOUT));
    v.demand(told.took() < WAIT.as_secs_f64() * 2e3 - 100.0, || {
        "the kernel's error came only with the deadline".to_owned()
    });
    v.account(stage.subject.reports(), &told, Fate::Failed, written, &wire);
    v.saw(format!(
        "where the kernel gives up first (TCP_USER_TIMEOUT 400 ms): {told}"
    ));
    v.trace("blackhole, the kernel first", &told, wire);
    Ok(v)
}

/// Waits until the wire shows `bytes` acknowledged.
fn await_acked(stage: &Stage, conn: &crate::harness::Conn, bytes: u64) -> Result<(), Stop> {
    let begun = Stamp::now();
    while stage.wire(conn)?.acked() != Some(bytes) {
        if begun.elapsed() > Duration::from_secs(2) {
            return Err(Stop::Broken(format!(
                "{bytes} bytes were never acknowledged"
            )));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
