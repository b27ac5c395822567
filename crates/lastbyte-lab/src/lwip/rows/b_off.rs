//! Section B: lingering is off.

use lastbyte::Errno;

use super::{
    INPUT, LIMIT, PATIENCE, PLENTY, arrived, close, demand_arrived, demand_at_once, demand_error,
    trace,
};
use crate::findings::Findings;
use crate::harness::{From, ms};
use crate::lwip::stack::Pair;

/// What the peer does besides reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    None,
    Unread,
    Late,
}

pub(super) fn b1(v: &mut Findings) -> Result<(), Errno> {
    off(v, Input::None)
}

pub(super) fn b2(v: &mut Findings) -> Result<(), Errno> {
    off(v, Input::Unread)
}

pub(super) fn b3(v: &mut Findings) -> Result<(), Errno> {
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
