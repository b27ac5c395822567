//! A report against the packets.

use lastbyte_lab::harness::Stamp;
use serde_json::Value;

use super::contract::OFF_BY;
use crate::actor::linger_seconds;
use crate::axes::{Before, Mode, Waits, Who};
use crate::scene::Seen;
use crate::wire::Side;

/// What a report says that the packets do not bear out. `at` is when it was heard.
#[must_use]
pub fn faults(seen: &Seen, at: Stamp, report: &Value) -> Vec<String> {
    if report.get("unseen").is_some() {
        return Vec::new();
    }
    if report.get("refused").is_some() {
        let untouched = shut_by_program(seen)
            || at_refusal(report).is_none_or(|at| !seen.wire.ended_before(at));
        return if untouched {
            Vec::new()
        } else {
            vec!["refused, and yet a FIN or an RST went out".into()]
        };
    }
    let Some(fate) = report.get("fate").and_then(Value::as_str) else {
        return vec![format!("a report without a fate: {report}")];
    };
    let mut checks = vec![
        fate_fault(seen, at, fate, report),
        acked(seen, fate, report),
        lost(seen, fate, report),
        unknown(seen, fate, report),
        unsent(seen, fate, report),
        unread(seen, fate, report),
        rst_sent(seen, at, report),
        closed_first(seen, report),
        error(fate, report),
    ];
    checks.retain(Option::is_some);
    let mut faults: Vec<String> = checks.into_iter().flatten().collect();
    if !faults.is_empty() {
        faults.push(format!("the report: {report}"));
    }
    faults
}

/// When the library refused.
fn at_refusal(report: &Value) -> Option<Stamp> {
    let at = number(report, "at")?;
    let seconds = u32::try_from(at / 1_000_000_000).ok()?;
    let rest = u32::try_from(at % 1_000_000_000).ok()?;
    Some(Stamp::from_parts(seconds, rest))
}

/// The program itself shut down its sending side.
fn shut_by_program(seen: &Seen) -> bool {
    seen.cell.before.shuts_writing()
}

fn number(report: &Value, key: &str) -> Option<u64> {
    report.get(key).and_then(Value::as_u64)
}

fn fate_fault(seen: &Seen, at: Stamp, fate: &str, report: &Value) -> Option<String> {
    let wire = &seen.wire;
    let delivered = wire.acked() == Some(seen.written) && wire.fin_acked().is_some();
    let ended_by = wire.rst().map(|(side, _)| side);
    let why = match fate {
        "delivered" | "confirmed" if !delivered => format!(
            "of {} bytes {:?} were acknowledged, the FIN: {:?}",
            seen.written,
            wire.acked(),
            wire.fin_acked().is_some()
        ),
        "delivered" | "confirmed" if wire.fin_acked() > Some(at) => {
            "it was said before the FIN was acknowledged".into()
        }
        "confirmed" if wire.fin(Side::Peer).is_none_or(|fin| fin > at) => {
            "the peer had sent no FIN by then".into()
        }
        "delivered" if seen.cell.who == Who::Confirm && wire.fin(Side::Peer).is_some() => {
            "the peer's FIN was to be waited for, and came".into()
        }
        "timed_out" if !seen.cell.mode.waits() => "nothing had a deadline".into(),
        "timed_out" => {
            let limit = f64::from(linger_seconds(&seen.cell)) * 1000.0;
            let elapsed = number(report, "elapsed_us").unwrap_or(0) as f64 / 1000.0;
            if elapsed >= limit - OFF_BY {
                return None;
            }
            format!("after {elapsed:.1} ms of {limit}")
        }
        "reset" if ended_by != Some(Side::Peer) => format!("RST: {ended_by:?}"),
        // Our own kernel resets too after SHUT_RD, on input where no filter can be attached
        // and on a FIN behind input that one kept out, with the same error as the peer's
        // RST. Nothing counts such input, so whose it was is not known, and null.
        "failed"
            if seen.cell.before.shuts_reading()
                && report["error"] == "ECONNRESET"
                && report["rst_sent"].is_null() =>
        {
            return None;
        }
        // An RST in answer to a SYN refuses the connection (RFC 9293, 3.10.7.3); the error
        // is its own, and there was nothing to reset.
        "failed" if seen.cell.void() && report["error"] == "ECONNREFUSED" => return None,
        // A receipt does not tell whose RST it was; then it names no error.
        "failed" if seen.cell.who == Who::Receipt && report["error"].is_null() => return None,
        "failed" if ended_by == Some(Side::Peer) => "the peer's RST ended it".into(),
        "aborted" if seen.cell.mode != Mode::Abort => "nobody asked for an abort".into(),
        _ => return None,
    };
    Some(format!("{fate}, but {why}"))
}

/// What may have been acknowledged when the fate was known.
fn acknowledged(seen: &Seen, fate: &str) -> Option<std::ops::RangeInclusive<u64>> {
    let all = seen.wire.acked()?;
    let least = match (fate, seen.wire.our_rst()) {
        // One that is left to others may be acknowledged later.
        ("detached", _) => 0,
        // An acknowledgement that arrives while the RST is on its way out is on the
        // wire, and too late.
        (_, Some(rst)) => seen.wire.acked_by(Some(rst.before(JUST_NOW)))?,
        _ => all,
    };
    Some(least..=all)
}

/// What an RST may take, on a busy machine, from the look at the counters to the wire.
const JUST_NOW: std::time::Duration = std::time::Duration::from_millis(50);

fn acked(seen: &Seen, fate: &str, report: &Value) -> Option<String> {
    let said = number(report, "acked")?;
    let fits = acknowledged(seen, fate)?;
    (!fits.contains(&said)).then(|| format!("acked {said}, but the packets say {fits:?}"))
}

fn lost(seen: &Seen, fate: &str, report: &Value) -> Option<String> {
    let said = number(report, "lost")?;
    let all = seen.wire.acked()?;
    let fits = match fate {
        // Left to others, it is told only where it is certain.
        "detached" => all..=all,
        _ => acknowledged(seen, fate)?,
    };
    let kept = seen.written.checked_sub(said);
    (!kept.is_some_and(|kept| fits.contains(&kept))).then(|| {
        format!(
            "lost {said} of {}, but the packets say acknowledged {fits:?}",
            seen.written
        )
    })
}

/// Where the contract wants exact numbers, null will not do.
fn unknown(seen: &Seen, fate: &str, report: &Value) -> Option<String> {
    let exact = matches!(
        fate,
        "delivered" | "confirmed" | "aborted" | "timed_out" | "reset"
    );
    // Acknowledgements that arrive while it resets cannot be kept out of a socket whose
    // filter the program has locked.
    let locked = seen.cell.before == Before::LockedFilter && seen.wire.our_rst().is_some();
    let wanted = seen.cell.must_keep() && seen.cell.who != Who::Receipt && exact && !locked;
    let null = ["acked", "lost"]
        .into_iter()
        .find(|key| report[*key].is_null())?;
    wanted.then(|| format!("{fate}, but {null} is null"))
}

fn unsent(seen: &Seen, fate: &str, report: &Value) -> Option<String> {
    let said = number(report, "unsent")?;
    let unsent = seen.written.saturating_sub(seen.wire.sent(Side::Ours)?);
    // One that is left to others may be sent later.
    let fits = if fate == "detached" {
        said >= unsent
    } else {
        said == unsent
    };
    (!fits).then(|| format!("unsent {said}, but the packets say {unsent}"))
}

fn unread(seen: &Seen, fate: &str, report: &Value) -> Option<String> {
    let said = number(report, "unread")?;
    let all = seen.wire.sent(Side::Peer)?.saturating_sub(seen.read);
    let least = match seen.cell.waits {
        // All of it was there before the peer began to read.
        Waits::Late if matches!(fate, "delivered" | "confirmed") => all,
        _ => seen.input_before,
    };
    (said < least || said > all)
        .then(|| format!("unread {said}, but the packets say {least} to {all}"))
}

fn rst_sent(seen: &Seen, at: Stamp, report: &Value) -> Option<String> {
    let said = report.get("rst_sent").and_then(Value::as_bool)?;
    match (said, seen.wire.our_rst()) {
        (true, None) => Some("rst_sent, but no RST of ours was seen".into()),
        // What comes after the fate is known is not in the report.
        (false, Some(rst)) if rst <= known_at(seen, at, report) => {
            Some("no rst_sent, but an RST of ours was seen".into())
        }
        _ => None,
    }
}

/// When the fate was known: so long after the call as the report says.
fn known_at(seen: &Seen, heard: Stamp, report: &Value) -> Stamp {
    let elapsed = number(report, "elapsed_us");
    match (seen.closing, elapsed) {
        (Some(closing), Some(us)) => closing.after(std::time::Duration::from_micros(us)),
        _ => heard,
    }
}

fn closed_first(seen: &Seen, report: &Value) -> Option<String> {
    let said = match report.get("closed_first")?.as_str()? {
        "local" => Side::Ours,
        _ => Side::Peer,
    };
    // A FIN that waits behind data is not on the wire yet: the side that let go (or
    // shut down) before the other's FIN or RST came was the first.
    let shut = shut_by_program(seen);
    let first = match (seen.wire.first_of(Side::Peer), seen.closing) {
        (Some(peer), Some(closing)) if peer < closing && !shut => Side::Peer,
        _ => Side::Ours,
    };
    (first != said).then(|| format!("closed first: {said:?}, but the packets say {first:?}"))
}

fn error(fate: &str, report: &Value) -> Option<String> {
    let error = report.get("error").and_then(Value::as_str);
    let fits = match fate {
        "timed_out" | "stalled" => matches!(error, Some("EWOULDBLOCK" | "EAGAIN")),
        "reset" => error == Some("ECONNRESET"),
        "failed" => true,
        _ => error.is_none(),
    };
    (!fits).then(|| format!("{fate} with the error {error:?}"))
}
