//! The rows, in lwIP's terms. One function a row, as in [`crate::rows`].

use std::time::{Duration, Instant};

use lastbyte::Errno;

use super::stack::{Closed, Got, Pair};
use crate::findings::{AT_ONCE_MS, Findings, TOLERANCE_MS, Trace};
use crate::harness::{From, Wire, ms};

type Run = fn(&mut Findings) -> Result<(), Errno>;

/// The wait asked for, and when a close that should be over is given up.
const WAIT: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_millis(3500);
const PATIENCE: Duration = Duration::from_secs(3);
/// More than send queue and window take.
const PLENTY: usize = 400_000;
const INPUT: usize = 1000;

/// How a row is run, or why it cannot be.
pub(super) fn run(id: &str) -> Result<Run, &'static str> {
    Ok(match id {
        "A1" => a1,
        "A2" => a2,
        "A3" => a3,
        "A4" => a4,
        "A5" => a5,
        "B1" => b1,
        "B2" => b2,
        "B3" => b3,
        "C1" => c1,
        "C2" => c2,
        "C3" => c3,
        "D1" => d1,
        "D2" => d2,
        "D3" => d3,
        "D4" => d4,
        "D6" => d6,
        "D7" => d7,
        "D8" => d8,
        "E1" => e1,
        "E2" => e2,
        "B4" => return Err("lwIP knows no processes"),
        "D5" => return Err("lwIP knows no signals"),
        "E3" => return Err("a socket of lwIP's cannot be let go otherwise than by its close"),
        "F1" => {
            return Err(
                "one thread has one close at a time; the stack is made for few connections",
            );
        }
        _ => return Err("it is not written for lwIP"),
    })
}

fn trace(v: &mut Findings, label: &str, closed: Option<&Closed>, wire: Wire) {
    if let Some(closed) = closed {
        v.keep(Trace {
            label: label.to_owned(),
            origin: closed.called,
            returned: Some(closed.returned),
            wire,
        });
    }
}

fn words(closed: &Closed) -> String {
    match closed.error {
        None => format!("returned 0 after {}", ms(closed.took())),
        Some(error) => format!("{error} after {}", ms(closed.took())),
    }
}

/// Closes on a thread of its own; that it returns at all is demanded.
fn close(v: &mut Findings, pair: &Pair, limit: Duration) -> Option<Closed> {
    let closed = pair.ours.close_within(limit);
    if closed.is_none() {
        let late = format!("had not returned after {}", ms(limit.as_secs_f64() * 1e3));
        v.saw(late.clone());
        v.demand(false, || late);
    }
    closed
}

fn demand_error(v: &mut Findings, closed: &Closed, wanted: Option<Errno>) {
    v.demand(closed.error == wanted, || {
        let name = |error: Option<Errno>| error.map_or("0".to_owned(), |error| error.to_string());
        format!("returned {}, not {}", name(closed.error), name(wanted))
    });
}

fn demand_at_once(v: &mut Findings, closed: &Closed) {
    v.demand(closed.took() <= AT_ONCE_MS, || {
        format!("took {} instead of returning at once", ms(closed.took()))
    });
}

fn demand_after(v: &mut Findings, what: &str, after: f64, wanted: Duration) {
    let off = after - wanted.as_secs_f64() * 1e3;
    v.demand(off.abs() <= TOLERANCE_MS, || {
        format!("{what} {} after the call", ms(after))
    });
}

fn demand_arrived(v: &mut Findings, got: &Got, written: usize) {
    v.demand(
        got.bytes == written && got.intact && got.end.is_none(),
        || format!("the peer got {} of {written} bytes, then {got}", got.bytes),
    );
}

fn arrived(got: &Got, written: usize) -> String {
    format!("the peer got {} of {written} bytes, then {got}", got.bytes)
}

fn a1(v: &mut Findings) -> Result<(), Errno> {
    let pair = Pair::new(false)?;
    let (onoff, seconds) = pair.ours.linger()?;
    v.demand(onoff == 0, || {
        format!("the stack holds {{{onoff}, {seconds}}}")
    });
    v.saw(format!("the stack holds {{{onoff}, {seconds}}}"));
    pair.ours.close();
    pair.peer.close();
    Ok(())
}

fn a2(v: &mut Findings) -> Result<(), Errno> {
    let pair = Pair::new(false)?;
    let (mut round, mut refused) = (0, 0);
    for set in [0, 1, 5, 327, 32_767, 32_768, 65_536, i32::MAX, -1, i32::MIN] {
        pair.ours.set_linger((0, 0))?;
        if pair.ours.set_linger((1, set)).is_err() {
            refused += 1;
            continue;
        }
        let read = pair.ours.linger()?;
        v.demand(read == (1, set), || {
            format!("{{1, {set}}} became {{{}, {}}}", read.0, read.1)
        });
        round += usize::from(read == (1, set));
    }
    v.saw(format!(
        "{round} values read back exactly, {refused} refused"
    ));
    if let [first, others @ ..] = v.faults() {
        let more = match others.len() {
            0 => first.clone(),
            more => format!("{first}, and {more} more such"),
        };
        v.saw(more);
    }
    pair.ours.set_linger((0, 0))?;
    pair.ours.close();
    pair.peer.close();
    Ok(())
}

/// What the common wrappers make of 500 ms: whole seconds, the fraction cut off.
fn a3(v: &mut Findings) -> Result<(), Errno> {
    const HALF: Duration = Duration::from_millis(500);
    let pair = Pair::new(false)?;
    pair.ours.set_linger((1, HALF.as_secs() as i32))?;
    let (_, seconds) = pair.ours.linger()?;
    pair.lose(true);
    pair.ours.fill(10_000)?;
    if let Some(closed) = close(v, &pair, LIMIT) {
        demand_error(v, &closed, Some(Errno::EWOULDBLOCK));
        demand_after(v, "returned", closed.took(), HALF);
        v.saw(format!(
            "l_linger {seconds} for 500 ms; the wait {}",
            words(&closed)
        ));
        trace(v, "wait 500 ms, peer silent", Some(&closed), pair.wire());
    }
    pair.lose(false);
    pair.peer.reset();
    Ok(())
}

fn a4(v: &mut Findings) -> Result<(), Errno> {
    let pair = Pair::new(false)?;
    pair.ours.set_linger((1, 1))?;
    pair.lose(true);
    pair.ours.fill(1000)?;
    if let Some(closed) = close(v, &pair, LIMIT) {
        // A second or 1/100 s: no fine measure is needed.
        v.demand((800.0..1500.0).contains(&closed.took()), || {
            format!("l_linger 1 ended after {}", ms(closed.took()))
        });
        v.saw(format!("l_linger 1 waited {}: seconds", ms(closed.took())));
    }
    pair.lose(false);
    pair.peer.reset();
    Ok(())
}

fn a5(v: &mut Findings) -> Result<(), Errno> {
    let pair = Pair::new(false)?;
    let set = pair.ours.set_linger((1, -1));
    let (onoff, seconds) = pair.ours.linger()?;
    v.saw(match set {
        Ok(()) => format!("set -1, the stack answers {{{onoff}, {seconds}}}"),
        Err(error) => format!("-1 is refused: {error}"),
    });
    v.demand(set.is_err() || (onoff, seconds) == (1, -1), || {
        format!("-1 was set and {{{onoff}, {seconds}}} is read back")
    });
    pair.ours.set_linger((0, 0))?;
    pair.ours.close();
    pair.peer.close();
    Ok(())
}

/// What the peer does besides reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    None,
    Unread,
    Late,
}

fn b1(v: &mut Findings) -> Result<(), Errno> {
    off(v, Input::None)
}

fn b2(v: &mut Findings) -> Result<(), Errno> {
    off(v, Input::Unread)
}

fn b3(v: &mut Findings) -> Result<(), Errno> {
    off(v, Input::Late)
}

fn off(v: &mut Findings, input: Input) -> Result<(), Errno> {
    let pair = Pair::new(false)?;
    let written = pair.ours.fill(PLENTY)?;
    if input == Input::Unread {
        pair.peer.fill(INPUT)?;
    }
    let Some(closed) = close(v, &pair, LIMIT) else {
        return Ok(());
    };
    if input == Input::Late {
        // What the late input meets shows in what arrives.
        let _ = pair.peer.fill(INPUT);
    }
    let got = pair.peer.read_all(PATIENCE);
    let wire = pair.wire();
    let rst = if wire.rst(From::Us).is_some() {
        "; we sent an RST"
    } else {
        ""
    };
    demand_error(v, &closed, None);
    demand_at_once(v, &closed);
    demand_arrived(v, &got, written);
    v.saw(format!(
        "returned after {}; {}{rst}",
        ms(closed.took()),
        arrived(&got, written)
    ));
    trace(v, "off", Some(&closed), wire);
    pair.peer.close();
    Ok(())
}

fn c1(v: &mut Findings) -> Result<(), Errno> {
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

fn c2(v: &mut Findings) -> Result<(), Errno> {
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

fn c3(v: &mut Findings) -> Result<(), Errno> {
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

fn d1(v: &mut Findings) -> Result<(), Errno> {
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

fn d2(v: &mut Findings) -> Result<(), Errno> {
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

fn d3(v: &mut Findings) -> Result<(), Errno> {
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

fn d4(v: &mut Findings) -> Result<(), Errno> {
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

fn d6(v: &mut Findings) -> Result<(), Errno> {
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

fn d7(v: &mut Findings) -> Result<(), Errno> {
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
fn d8(v: &mut Findings) -> Result<(), Errno> {
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

fn nonblocking() -> Result<(Pair, usize), Errno> {
    let pair = Pair::new(false)?;
    let written = pair.ours.fill(PLENTY)?;
    pair.ours.set_linger((1, WAIT.as_secs() as i32))?;
    pair.ours.set_nonblocking(true)?;
    Ok((pair, written))
}

fn e1(v: &mut Findings) -> Result<(), Errno> {
    let (pair, written) = nonblocking()?;
    let Some(closed) = close(v, &pair, LIMIT) else {
        return Ok(());
    };
    demand_at_once(v, &closed);
    demand_error(v, &closed, Some(Errno::EWOULDBLOCK));
    let open = pair.ours.linger().is_ok();
    v.demand(open, || "the socket is gone".to_owned());
    v.saw(format!(
        "{}; the socket is {}",
        words(&closed),
        if open { "still open" } else { "gone" }
    ));
    // What it goes on as: the peer reads, and it is closed again.
    let got = pair.peer.read_all(PATIENCE);
    v.demand(got.bytes == written, || arrived(&got, written));
    if open {
        let again = pair.ours.close();
        v.saw(format!(
            "{}; closed again it {}",
            arrived(&got, written),
            words(&again)
        ));
    }
    trace(v, "non-blocking close", Some(&closed), pair.wire());
    pair.peer.close();
    Ok(())
}

fn e2(v: &mut Findings) -> Result<(), Errno> {
    for (label, wanted) in [
        ("peer reads", None),
        ("peer stops", Some(Errno::EWOULDBLOCK)),
        ("peer resets", Some(Errno::ECONNRESET)),
    ] {
        let (pair, _) = nonblocking()?;
        let Some(closed) = close(v, &pair, LIMIT) else {
            return Ok(());
        };
        match label {
            "peer reads" => drop(pair.peer.read_all(Duration::from_millis(500))),
            "peer resets" => pair.peer.reset(),
            // Past its deadline.
            _ => std::thread::sleep(WAIT * 2),
        }
        // The handle is the socket itself.
        let later = pair.ours.close();
        let rst = pair.wire().rst(From::Us).is_some();
        v.demand(later.error == wanted, || {
            format!("{label}: the close later {}", words(&later))
        });
        v.demand(label != "peer stops" || rst, || {
            "the deadline passed, and nothing was reset".to_owned()
        });
        v.saw(format!(
            "{label}: {}, later {}",
            words(&closed),
            words(&later)
        ));
        trace(v, label, Some(&closed), pair.wire());
        pair.ours.reset();
        if label != "peer resets" {
            pair.peer.reset();
        }
    }
    Ok(())
}
