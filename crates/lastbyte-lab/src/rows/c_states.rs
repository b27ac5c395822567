//! C3: an abort from each state that a half-closed connection can be in.

use std::net::Shutdown;
use std::time::Duration;

use lastbyte::{Fate, Policy};
use procfs::net::TcpState;
use socket2::SockRef;

use super::Row;
use crate::findings::Findings;
use crate::harness::{From, Pair, Setup, fill, state_name};
use crate::stage::{Stage, Stop, await_state};

pub(super) const C3: Row = Row {
    id: "C3",
    shows: "abort_from_half_closed_states_says_whether_it_reset",
    manual: "A RST closes the connection, instead of the usual four-packet ending.",
    alone: false,
    run: c3,
};

/// The states, and whether an abort sends an RST from there: not once both sides
/// have shut and all is sent (RFC 9293 §3.10.4, net/ipv4/tcp.c tcp_need_reset).
const STATES: [(TcpState, bool); 5] = [
    (TcpState::CloseWait, true),
    (TcpState::FinWait1, true),
    (TcpState::FinWait2, true),
    (TcpState::Closing, false),
    (TcpState::LastAck, false),
];

fn c3(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    let mut v = stage.findings();
    let mut seen = Vec::new();
    for (state, resets) in &STATES {
        let name = state_name(state);
        let pair = Pair::new(Setup::default())?;
        let written = fill(&pair.ours, 1000)?;
        bring_to(&pair, state)?;
        let Pair { ours, peer, conn } = pair;
        let limit = Duration::from_secs(2);
        let call = stage.call(ours, Policy::abort());
        let Some(told) = v.returned(call.wait(limit), limit) else {
            return Ok(v);
        };
        let wire = stage.wire(&conn)?;
        let rst = wire.rst(From::Us).is_some();
        v.errno(&told, None);
        v.demand(rst == *resets, || {
            format!("from {name}: {}", if rst { "an RST" } else { "no RST" })
        });
        v.account(
            stage.subject.reports(),
            &told,
            Fate::Aborted,
            written,
            &wire,
        );
        seen.push(format!("{name} {}", if rst { "RST" } else { "none" }));
        v.trace(format!("from {name}"), &told, wire);
        drop(peer);
    }
    v.saw(seen.join(", "));
    Ok(v)
}

/// Brings our side to `state` with the descriptor still open.
fn bring_to(pair: &Pair, state: &TcpState) -> Result<(), Stop> {
    let ours = SockRef::from(&pair.ours);
    match state {
        TcpState::CloseWait => pair.peer.half_close()?,
        TcpState::FinWait1 => {
            pair.peer.blackhole()?;
            ours.shutdown(Shutdown::Write)?;
        }
        TcpState::FinWait2 => ours.shutdown(Shutdown::Write)?,
        TcpState::Closing => {
            // The peer's FIN goes out without having seen ours.
            pair.peer.blackhole()?;
            ours.shutdown(Shutdown::Write)?;
            pair.peer.half_close()?;
        }
        TcpState::LastAck => {
            pair.peer.half_close()?;
            await_state(&pair.conn, &TcpState::CloseWait)?;
            pair.peer.blackhole()?;
            ours.shutdown(Shutdown::Write)?;
        }
        other => {
            return Err(Stop::Broken(format!(
                "no way is known to {}",
                state_name(other)
            )));
        }
    }
    await_state(&pair.conn, state)
}
