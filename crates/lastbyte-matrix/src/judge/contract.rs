//! The contract's rows, on packets and bytes.

use lastbyte_lab::harness::{End, Stamp};

use super::has_result;
use crate::actor::linger_seconds;
use crate::axes::{Mode, Waits, Who};
use crate::scene::{Seen, returns_at_once};
use crate::wire::Side;

/// What the contract lets a deadline be off by, in milliseconds.
pub(super) const OFF_BY: f64 = 10.0;
/// Threads that have to be woken, one after another, from a deadline to its RST in the
/// capture: the loop's, and under `run` the program's and the supervisor's before.
const WAKES: f64 = 4.0;
/// What the library's call may take, on a machine that is busy with others, to reach the
/// loop whose deadline it is.
const BEGIN_BY: f64 = 100.0;
/// The same where a process ends: other holders are looked for in all of /proc once it is
/// gone, and again a moment later, and nobody knows when the last one let go meanwhile.
const EXIT_BY: f64 = 500.0;

/// What a deadline may be late by, given how late the machine wakes a thread that sleeps.
fn late_by(seen: &Seen) -> f64 {
    let way = seen.cell.way;
    let begin = if way.ends_process() || way.is_child() {
        EXIT_BY
    } else {
        BEGIN_BY
    };
    off_by(seen) + begin
}

/// What a time may be off by that several threads, one after another, had to be woken for.
fn off_by(seen: &Seen) -> f64 {
    OFF_BY + WAKES * seen.late.as_secs_f64() * 1000.0
}

/// The row that was kept, or what broke it.
///
/// # Errors
/// What the contract wants and did not get.
pub fn row(seen: &Seen) -> Result<&'static str, String> {
    if returns_at_once(&seen.cell) && !seen.returned_first {
        return Err("the call did not return at once".into());
    }
    match (seen.cell.mode, seen.cell.waits) {
        (Mode::Abort, _) => aborted(seen),
        (Mode::Off, Waits::Never) => undisturbed(seen),
        (_, Waits::Never) => timed_out(seen),
        (_, Waits::Resets) => reset(seen),
        _ => delivered(seen),
    }
}

fn delivered(seen: &Seen) -> Result<&'static str, String> {
    let Some(got) = &seen.got else {
        return Err("the peer read nothing".into());
    };
    if got.bytes != seen.written || !got.intact || got.end != End::Eof {
        let intact = if got.intact {
            ""
        } else {
            ", not the ones sent"
        };
        return Err(format!(
            "the peer got {} of {} bytes{intact}, then {}",
            got.bytes, seen.written, got.end
        ));
    }
    result(seen, 0)?;
    Ok(match (seen.cell.mode, seen.cell.waits) {
        (_, _) if seen.cell.came == crate::axes::Came::FastHeld => "B6",
        (_, Waits::Late) if seen.cell.before.shuts_reading() => "B5",
        (Mode::Off, Waits::Unread) => "B2",
        (Mode::Off, Waits::Late) => "B3",
        (Mode::Off, _) => "B1",
        (_, Waits::Unread | Waits::Late) => "D6",
        _ => "D1",
    })
}

fn aborted(seen: &Seen) -> Result<&'static str, String> {
    let by = seen.wire.rst().map(|(side, _)| side);
    // A closer's thread may come to it after the peer has reset.
    let overtaken = by == Some(Side::Peer) && seen.cell.waits == Waits::Resets;
    if by.is_none() && has_nothing_to_reset(seen) {
        result(seen, 0)?;
        return Ok("C3");
    }
    if !seen.cell.void() && by != Some(Side::Ours) && !overtaken {
        return Err("no RST went out".into());
    }
    if let Some(got) = &seen.got {
        let whole = got.bytes == seen.written && got.end == End::Eof;
        if whole && seen.cell.waits != Waits::Nothing {
            return Err("the peer got everything and an end of file".into());
        }
        if !got.intact {
            return Err("the peer got bytes that were not sent".into());
        }
    }
    result(seen, 0)?;
    Ok("C1")
}

/// The program had shut down its sending side, the peer acknowledged all of it and
/// closed too: from TIME_WAIT an abort sends no RST.
fn has_nothing_to_reset(seen: &Seen) -> bool {
    let both = seen.wire.fin_acked().is_some() && seen.wire.fin(Side::Peer).is_some();
    let whole = seen
        .got
        .as_ref()
        .is_none_or(|got| got.intact && got.bytes == seen.written);
    seen.cell.before.shuts_writing() && both && whole
}

/// Off, and nobody reads: nothing may be given up.
fn undisturbed(seen: &Seen) -> Result<&'static str, String> {
    if let Some((Side::Ours, at)) = seen.wire.rst() {
        return Err(format!(
            "an RST went out {:.1} ms after the close",
            since(seen, at)
        ));
    }
    result(seen, 0)?;
    Ok("B1")
}

fn timed_out(seen: &Seen) -> Result<&'static str, String> {
    let limit = f64::from(linger_seconds(&seen.cell)) * 1000.0;
    // All acknowledged although nobody reads: the window held it.
    if seen.wire.acked() == Some(seen.written) && seen.wire.fin_acked().is_some() {
        result(seen, 0)?;
        return Ok("D1");
    }
    let at = match seen.wire.our_rst() {
        Some(at) => since(seen, at),
        // A connection that never was has no peer to reset.
        None if seen.cell.void() => match &seen.closed {
            Some(closed) => since(seen, closed.at),
            None => limit,
        },
        None => return Err("the time ran out and no RST went out".into()),
    };
    if at < limit - OFF_BY || at > limit + late_by(seen) {
        return Err(format!(
            "it was given up after {at:.1} ms instead of {limit}, where a sleep was {:.1} ms late at worst",
            seen.late.as_secs_f64() * 1000.0
        ));
    }
    result(seen, libc::EWOULDBLOCK)?;
    Ok("D2")
}

fn reset(seen: &Seen) -> Result<&'static str, String> {
    let all = seen.wire.acked() == Some(seen.written) && seen.wire.fin_acked().is_some();
    match seen.wire.rst() {
        Some((Side::Ours, at)) => {
            return Err(format!(
                "our own RST went out {:.1} ms after the close",
                since(seen, at)
            ));
        }
        None if !all => return Err("no RST was seen".into()),
        _ => {}
    }
    let blocks = seen.cell.mode == Mode::Wait || seen.cell.who == Who::Tokio;
    if blocks && !all && seen.cell.mode != Mode::Off {
        result(seen, libc::ECONNRESET)?;
        return Ok("D3");
    }
    Ok("B1")
}

/// The call's own result, where the contract has one: 0, or −1 with this errno.
fn result(seen: &Seen, errno: i32) -> Result<(), String> {
    let Some(closed) = seen.closed.filter(|_| has_result(seen)) else {
        return Ok(());
    };
    // A socket that does not block is told at once; what becomes of it comes later.
    let asked = seen.cell.mode == Mode::Wait || seen.cell.who == Who::Tokio;
    let errno = if asked { errno } else { 0 };
    let fits = match errno {
        0 => closed.result >= 0,
        _ => closed.result < 0 && closed.errno == errno,
    };
    if fits {
        return Ok(());
    }
    let name = |errno| std::io::Error::from_raw_os_error(errno).to_string();
    let said = if closed.result < 0 {
        name(closed.errno)
    } else {
        "success".into()
    };
    let wanted = if errno == 0 {
        "success".into()
    } else {
        name(errno)
    };
    Err(format!("the call returned {said} instead of {wanted}"))
}

fn since(seen: &Seen, at: Stamp) -> f64 {
    seen.closing.map_or(0.0, |closing| at - closing)
}

/// What is the same in two endings that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Our FIN was on the wire.
    pub fin: bool,
    /// Whose RST ended it.
    pub rst: Option<Side>,
    /// The peer got everything.
    pub whole: Option<bool>,
    /// The peer's end was an end of file.
    pub eof: Option<bool>,
}

impl Shape {
    /// The shape of what was seen.
    #[must_use]
    pub fn of(seen: &Seen) -> Self {
        Self {
            fin: seen.wire.fin(Side::Ours).is_some(),
            // A SYN that nobody answers is refused once the stage has gone.
            rst: (seen.wire.rst().map(|(side, _)| side))
                .filter(|side| !seen.cell.void() || *side == Side::Ours),
            whole: seen
                .got
                .as_ref()
                .map(|got| got.bytes == seen.written && got.intact),
            eof: seen.got.as_ref().map(|got| got.end == End::Eof),
        }
    }
}
