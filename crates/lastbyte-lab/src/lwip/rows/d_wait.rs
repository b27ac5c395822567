//! Section D: a linger time.

use std::time::{Duration, Instant};

use lastbyte::Errno;

use super::{
    INPUT, LIMIT, PATIENCE, PLENTY, WAIT, arrived, close, demand_after, demand_arrived,
    demand_error, trace, words,
};
use crate::findings::{AT_ONCE_MS, Findings};
use crate::harness::{From, ms};
use crate::lwip::stack::Pair;

pub(super) fn d1(v: &mut Findings) -> Result<(), Errno> {
    const TRIES: usize = 11;
    let mut after = Vec::new();
    for index in 0..TRIES {
        let pair = Pair::new(index % 2 == 1)?;
        let written = pair.ours.fill(PLENTY)?;
        pair.ours.set_linger((1, 5))?;
        let closing = pair.ours.begin_close();
        let got = pair.peer.read_all(PATIENCE);
        let Ok(closed) = closing.recv_timeout(LIMIT * 2) else {
            v.demand(false, || "had not returned".to_owned());
            return Ok(());
        };
        let wire = pair.wire();
        demand_error(v, &closed, None);
        demand_arrived(v, &got, written);
        match wire.fin_acked_at() {
            Some(acked) => {
                v.demand(closed.returned >= acked, || {
                    format!(
                        "returned {} before the FIN was acknowledged",
                        ms(acked - closed.returned)
                    )
                });
                after.push(closed.returned - acked);
            }
            None => v.demand(false, || "the FIN was never acknowledged".to_owned()),
        }
        if index == 0 {
            trace(v, "the first of the tries", Some(&closed), wire);
        }
        pair.peer.close();
    }
    after.sort_by(f64::total_cmp);
    match (after.get(TRIES / 2), after.last()) {
        (Some(median), Some(worst)) if *median >= 0.0 => v.saw(format!(
            "returned {} after the ACK of the FIN (median of {TRIES}, worst {})",
            ms(*median),
            ms(*worst)
        )),
        (Some(median), _) => v.saw(format!(
            "returned {} before the ACK of the FIN (median of {TRIES})",
            ms(-median)
        )),
        _ => v.saw(format!("{} of {TRIES} closes ended well", after.len())),
    }
    Ok(())
}

pub(super) fn d2(v: &mut Findings) -> Result<(), Errno> {
    for we_accept in [false, true] {
        let pair = Pair::new(we_accept)?;
        let written = pair.ours.fill(PLENTY)?;
        pair.ours.set_linger((1, WAIT.as_secs() as i32))?;
        let Some(closed) = close(v, &pair, LIMIT) else {
            return Ok(());
        };
        let got = pair.peer.read_all(PATIENCE);
        let wire = pair.wire();
        demand_error(v, &closed, Some(Errno::EWOULDBLOCK));
        demand_after(v, "returned", closed.took(), WAIT);
        match wire.rst(From::Us) {
            Some(at) => demand_after(v, "the RST went out", at - closed.called, WAIT),
            None => v.demand(false, || "no RST was seen".to_owned()),
        }
        v.demand(got.end == Some(Errno::ECONNRESET), || {
            arrived(&got, written)
        });
        if !we_accept {
            v.saw(format!("{}; {}", words(&closed), arrived(&got, written)));
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

pub(super) fn d3(v: &mut Findings) -> Result<(), Errno> {
    let pair = Pair::new(false)?;
    let written = pair.ours.fill(PLENTY)?;
    pair.ours.set_linger((1, 2))?;
    let closing = pair.ours.begin_close();
    v.demand(pair.await_state("FIN_WAIT1"), || {
        format!("it waits in {:?}", pair.state())
    });
    let read = pair.peer.read(1000, PATIENCE).bytes;
    pair.peer.reset();
    let Ok(closed) = closing.recv_timeout(LIMIT) else {
        v.demand(false, || "had not returned".to_owned());
        return Ok(());
    };
    let wire = pair.wire();
    demand_error(v, &closed, Some(Errno::ECONNRESET));
    if let Some(at) = wire.rst(From::Peer) {
        let late = closed.returned - at;
        v.demand((0.0..=AT_ONCE_MS).contains(&late), || {
            format!("returned {} after the peer's RST", ms(late))
        });
        v.saw(format!(
            "{}, {} after the peer's RST; the peer had read {read} of {written} bytes",
            words(&closed),
            ms(late)
        ));
    } else {
        v.saw(words(&closed));
        v.demand(false, || "the peer's RST was not seen".to_owned());
    }
    trace(v, "reset during the wait", Some(&closed), wire);
    Ok(())
}

pub(super) fn d4(v: &mut Findings) -> Result<(), Errno> {
    let pair = Pair::new(false)?;
    let written = pair.ours.fill(10_000)?;
    pair.ours.set_linger((1, 2))?;
    let Some(closed) = close(v, &pair, LIMIT) else {
        return Ok(());
    };
    let wire = pair.wire();
    demand_error(v, &closed, None);
    v.demand(
        wire.fin_acked_at().is_some_and(|at| at <= closed.returned),
        || "returned success before the FIN was acknowledged".to_owned(),
    );
    v.saw(format!(
        "{}, while the application had read 0 bytes",
        words(&closed)
    ));
    let got = pair.peer.read_all(PATIENCE);
    demand_arrived(v, &got, written);
    trace(v, "acknowledged, not read", Some(&closed), wire);
    pair.peer.close();
    Ok(())
}

pub(super) fn d6(v: &mut Findings) -> Result<(), Errno> {
    for late in [false, true] {
        let label = if late {
            "input during the wait"
        } else {
            "unread input"
        };
        let pair = Pair::new(false)?;
        let written = pair.ours.fill(PLENTY)?;
        if !late {
            pair.peer.fill(INPUT)?;
        }
        pair.ours.set_linger((1, 2))?;
        let closing = pair.ours.begin_close();
        if late {
            pair.await_state("FIN_WAIT1");
            // Where it meets a reset the rest of the row shows it.
            let _ = pair.peer.fill(INPUT);
        }
        let got = pair.peer.read_all(PATIENCE);
        let Ok(closed) = closing.recv_timeout(LIMIT) else {
            v.demand(false, || format!("{label}: had not returned"));
            continue;
        };
        demand_error(v, &closed, None);
        demand_arrived(v, &got, written);
        v.saw(format!(
            "{label}: {}; {}",
            words(&closed),
            arrived(&got, written)
        ));
        trace(v, label, Some(&closed), pair.wire());
        pair.peer.close();
    }
    Ok(())
}

pub(super) fn d7(v: &mut Findings) -> Result<(), Errno> {
    let pair = Pair::new(false)?;
    pair.lose(true);
    let written = pair.ours.fill(10_000)?;
    pair.ours.set_linger((1, WAIT.as_secs() as i32))?;
    if let Some(closed) = close(v, &pair, LIMIT) {
        let wire = pair.wire();
        demand_error(v, &closed, Some(Errno::EWOULDBLOCK));
        demand_after(v, "returned", closed.took(), WAIT);
        v.demand(wire.rst(From::Us).is_some(), || {
            "no RST was seen".to_owned()
        });
        v.saw(format!("{} of {written}", words(&closed)));
        trace(v, "blackhole", Some(&closed), wire);
    }
    pair.lose(false);
    pair.peer.reset();
    Ok(())
}

/// While two closes wait, another thread's exchanges go on.
pub(super) fn d8(v: &mut Findings) -> Result<(), Errno> {
    let waiting: Vec<Pair> = (0..2).map(|_| Pair::new(false)).collect::<Result<_, _>>()?;
    let talking = Pair::new(false)?;
    let mut closing = Vec::new();
    for (pair, seconds) in waiting.iter().zip([1, 2]) {
        pair.ours.fill(PLENTY)?;
        pair.ours.set_linger((1, seconds))?;
        closing.push(pair.ours.begin_close());
    }
    let until = Instant::now() + WAIT;
    let (mut answers, mut slowest) = (0, Duration::ZERO);
    while Instant::now() < until {
        let asked = Instant::now();
        talking.ours.fill(1)?;
        talking.peer.read(1, PATIENCE);
        talking.peer.fill(1)?;
        talking.ours.read(1, PATIENCE);
        slowest = slowest.max(asked.elapsed());
        answers += 1;
    }
    v.demand(slowest < Duration::from_millis(200) && answers > 10, || {
        format!("{answers} answers, the slowest after {slowest:?}")
    });
    let mut took = Vec::new();
    for closed in closing {
        match closed.recv_timeout(LIMIT) {
            Ok(closed) => took.push(ms(closed.took()).to_string()),
            Err(_) => v.demand(false, || "a close had not returned".to_owned()),
        }
    }
    v.saw(format!(
        "closes of 1 s and 2 s took {}; meanwhile another thread had {answers} answers, the slowest after {}",
        took.join(" and "),
        ms(slowest.as_secs_f64() * 1e3)
    ));
    for pair in waiting {
        pair.peer.reset();
    }
    talking.ours.reset();
    talking.peer.close();
    Ok(())
}
