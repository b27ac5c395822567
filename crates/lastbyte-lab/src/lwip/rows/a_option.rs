//! Section A: the option.

use std::time::Duration;

use lastbyte::Errno;

use super::{LIMIT, close, demand_after, demand_error, trace, words};
use crate::findings::Findings;
use crate::harness::ms;
use crate::lwip::stack::Pair;

pub(super) fn a1(v: &mut Findings) -> Result<(), Errno> {
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

pub(super) fn a2(v: &mut Findings) -> Result<(), Errno> {
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

/// Returns what the common wrappers make of 500 ms: whole seconds, the fraction cut off.
pub(super) fn a3(v: &mut Findings) -> Result<(), Errno> {
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

pub(super) fn a4(v: &mut Findings) -> Result<(), Errno> {
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

pub(super) fn a5(v: &mut Findings) -> Result<(), Errno> {
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
