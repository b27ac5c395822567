//! Section C: a linger time of zero.

use lastbyte::Errno;

use super::{LIMIT, PATIENCE, PLENTY, arrived, close, demand_at_once, demand_error, trace};
use crate::findings::Findings;
use crate::harness::{From, ms};
use crate::lwip::stack::Pair;

pub(super) fn c1(v: &mut Findings) -> Result<(), Errno> {
    for we_accept in [false, true] {
        let pair = Pair::new(we_accept)?;
        let written = pair.ours.fill(PLENTY)?;
        pair.ours.set_linger((1, 0))?;
        let Some(closed) = close(v, &pair, LIMIT) else {
            return Ok(());
        };
        let got = pair.peer.read_all(PATIENCE);
        let wire = pair.wire();
        demand_error(v, &closed, None);
        demand_at_once(v, &closed);
        let rst = wire.rst(From::Us).is_some();
        v.demand(rst, || "no RST was seen".to_owned());
        v.demand(got.end == Some(Errno::ECONNRESET), || {
            format!("the peer's recv ended with {got}")
        });
        v.demand(got.bytes < written, || {
            format!("the peer got all {written} bytes")
        });
        if !we_accept {
            v.saw(format!(
                "returned after {}; {}; {}",
                ms(closed.took()),
                if rst { "RST" } else { "no RST" },
                arrived(&got, written)
            ));
        }
        trace(
            v,
            if we_accept { "accepted" } else { "connected" },
            Some(&closed),
            wire,
        );
        pair.peer.close();
    }
    Ok(())
}

pub(super) fn c2(v: &mut Findings) -> Result<(), Errno> {
    // That the stack would show one: the same, closed in the usual way.
    let usual = Pair::new(false)?;
    usual.ours.close();
    usual.peer.read_all(PATIENCE);
    usual.peer.close();
    let shows = usual.await_state("TIME_WAIT");
    v.demand(shows, || {
        "a usual close leaves no TIME_WAIT either".to_owned()
    });

    let pair = Pair::new(false)?;
    pair.ours.fill(1000)?;
    pair.ours.set_linger((1, 0))?;
    let Some(closed) = close(v, &pair, LIMIT) else {
        return Ok(());
    };
    pair.peer.read_all(PATIENCE);
    pair.peer.close();
    let left = pair.state();
    v.demand(left.is_none(), || {
        format!("left in {}", left.unwrap_or_default())
    });
    v.saw(match left {
        None => "gone at once (a usual close beside it is there, in TIME_WAIT)".to_owned(),
        Some(state) => format!("left in {state}"),
    });
    trace(v, "abort", Some(&closed), pair.wire());
    Ok(())
}

pub(super) fn c3(v: &mut Findings) -> Result<(), Errno> {
    let mut seen = Vec::new();
    for state in ["CLOSE_WAIT", "FIN_WAIT1", "FIN_WAIT2", "LAST_ACK"] {
        let pair = Pair::new(false)?;
        if matches!(state, "CLOSE_WAIT" | "LAST_ACK") {
            pair.peer.shut_down_sending()?;
            pair.await_state("CLOSE_WAIT");
        }
        if matches!(state, "FIN_WAIT1" | "LAST_ACK") {
            // The FIN's ACK does not come.
            pair.lose(true);
        }
        if state != "CLOSE_WAIT" {
            pair.ours.shut_down_sending()?;
        }
        v.demand(pair.await_state(state), || {
            format!("it came to {:?}, not {state}", pair.state())
        });
        pair.ours.set_linger((1, 0))?;
        let closed = close(v, &pair, LIMIT);
        pair.lose(false);
        let rst = pair.wire().rst(From::Us).is_some();
        let left = pair.state();
        seen.push(format!("{state} {}", if rst { "RST" } else { "none" }));
        // RFC 9293 §3.10.5: in LAST_ACK an abort sends nothing.
        v.demand(rst || state == "LAST_ACK", || format!("no RST in {state}"));
        v.demand(left.is_none(), || {
            format!("from {state} it was left in {}", left.unwrap_or_default())
        });
        trace(v, state, closed.as_ref(), pair.wire());
        pair.peer.reset();
    }
    v.saw(seen.join(", "));
    Ok(())
}
