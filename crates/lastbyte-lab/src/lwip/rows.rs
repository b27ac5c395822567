//! The rows, in lwIP's terms. One function a row, as in [`crate::rows`].

mod a_option;
mod b_off;
mod c_abort;
mod d_wait;
mod e_nonblocking;

use std::time::Duration;

use lastbyte::Errno;

use super::stack::{Closed, Got, Pair};
use crate::findings::{AT_ONCE_MS, Findings, TOLERANCE_MS, Trace};
use crate::harness::{Wire, ms};

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
        "A1" => a_option::a1,
        "A2" => a_option::a2,
        "A3" => a_option::a3,
        "A4" => a_option::a4,
        "A5" => a_option::a5,
        "B1" => b_off::b1,
        "B2" => b_off::b2,
        "B3" => b_off::b3,
        "C1" => c_abort::c1,
        "C2" => c_abort::c2,
        "C3" => c_abort::c3,
        "D1" => d_wait::d1,
        "D2" => d_wait::d2,
        "D3" => d_wait::d3,
        "D4" => d_wait::d4,
        "D6" => d_wait::d6,
        "D7" => d_wait::d7,
        "D8" => d_wait::d8,
        "E1" => e_nonblocking::e1,
        "E2" => e_nonblocking::e2,
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
