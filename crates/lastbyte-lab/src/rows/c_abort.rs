//! C. Abort (on, 0): the data queued is discarded, the connection reset.

use std::time::Duration;

use lastbyte::{Errno, Fate, Policy};
use procfs::net::TcpState;

use super::Row;
use crate::findings::Findings;
use crate::harness::{End, From, Pair, Setup, fill, ms, row_of, state_name};
use crate::stage::{Stage, Stop, await_state};

const PATIENCE: Duration = Duration::from_secs(2);

pub(super) const C1: Row = Row {
    id: "C1",
    shows: "abort_discards_and_resets_at_once",
    manual: "l_linger = 0: close returns at once, unsent data is not sent, an RST closes the connection; the remote recv fails with ECONNRESET.",
    alone: false,
    run: c1,
};

fn c1(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    let mut v = stage.findings();
    for we_accept in [false, true] {
        let Pair {
            ours,
            mut peer,
            conn,
        } = Pair::new(Setup {
            we_accept,
            peer_buffer: Some(4096),
            our_buffer: Some(1 << 18),
            ..Setup::default()
        })?;
        let written = fill(&ours, 200_000)?;
        let call = stage.call(ours, Policy::abort());
        let Some(told) = v.returned(call.wait(PATIENCE), PATIENCE) else {
            return Ok(v);
        };
        let got = peer.read_all(PATIENCE);
        let wire = stage.wire(&conn)?;

        v.errno(&told, None);
        v.at_once(&told);
        match wire.rst(From::Us) {
            Some(at) => v.on_time("RST went out", &told, at, Duration::ZERO),
            None => v.demand(false, || "no RST was seen".to_owned()),
        }
        v.demand(got.end == End::Error(Errno::ECONNRESET), || {
            format!("the peer's recv ended with {}", got.end)
        });
        v.demand(got.bytes < written && got.intact, || {
            format!("the peer got {} of {written} bytes", got.bytes)
        });
        v.account(
            stage.subject.reports(),
            &told,
            Fate::Aborted,
            written,
            &wire,
        );
        if !we_accept {
            let lost = wire.acked().map_or(0, |acked| written - acked);
            v.saw(format!(
                "returned after {}; {}; the peer got {} of {written} bytes, then {}",
                ms(told.took()),
                match told.account.and_then(|a| a.lost) {
                    Some(said) => format!("RST; {lost} bytes discarded, {said} reported"),
                    None => "RST".to_owned(),
                },
                got.bytes,
                got.end
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

pub(super) const C2: Row = Row {
    id: "C2",
    shows: "abort_leaves_no_time_wait",
    manual: "… instead of the usual four-packet ending, and this avoids the state TIME_WAIT.",
    alone: false,
    run: c2,
};

fn c2(stage: &Stage) -> Result<Findings, Stop> {
    let mut v = stage.findings();

    // That the table would show one: the same connection, closed in the usual way.
    let Pair { ours, peer, conn } = Pair::new(Setup::default())?;
    drop(ours);
    peer.close();
    await_state(&conn, &TcpState::TimeWait)?;

    let Pair {
        ours,
        mut peer,
        conn,
    } = Pair::new(Setup::default())?;
    fill(&ours, 1000)?;
    let call = stage.call(ours, Policy::abort());
    let Some(told) = v.returned(call.wait(PATIENCE), PATIENCE) else {
        return Ok(v);
    };
    // Both sides have to be through before an absence means anything.
    let got = peer.read_all(PATIENCE);
    peer.close();
    let left = row_of(&conn)?;
    v.errno(&told, None);
    v.demand(left.is_none(), || {
        format!(
            "the peer saw {}, our side still stands in the table",
            got.end
        )
    });
    v.saw(match &left {
        None => {
            "gone from the kernel's table at once (a usual close beside it is there, in TIME_WAIT)"
                .to_owned()
        }
        Some(row) => format!("our side is in {}", state_name(&row.state)),
    });
    if let Ok(wire) = stage.wire(&conn) {
        v.trace("abort", &told, wire);
    }
    Ok(v)
}
