//! The values of refinements as text: times, numbers of bytes, yes and no, sides.

use std::fmt;
use std::net::Shutdown;
use std::time::Duration;

use super::Policy;

/// Says what is wrong with the text of a [`Policy`] or [`Linger`](crate::Linger), or with a combination
/// of refinements. It names the part that is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(String);

impl PolicyError {
    #[cfg(feature = "serde")]
    pub(super) const fn new(message: String) -> Self {
        Self(message)
    }

    /// The same, about the value of the refinement `name`.
    pub(super) fn of(self, name: impl fmt::Display) -> Self {
        Self(format!("{name}: {}", self.0))
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

pub(super) fn wrong<T>(message: String) -> Result<T, PolicyError> {
    Err(PolicyError(message))
}

const UNITS: [(&str, u128); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A time: numbers with units, added up.
pub(super) fn time(text: &str) -> Result<Duration, PolicyError> {
    let text = text.trim();
    if text.is_empty() {
        return wrong("the time is missing: expected one such as 5s or 500ms".to_owned());
    }
    let too_long = || PolicyError(format!("{text:?} is too long a time"));
    let mut nanos = 0_u128;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit, after) = term(text, rest)?;
        let term = scaled(text, number, unit)?.ok_or_else(too_long)?;
        nanos = nanos.checked_add(term).ok_or_else(too_long)?;
        rest = after;
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| too_long())?;
    // Below 10⁹, so it fits.
    Ok(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

/// The first number of `rest`, the nanoseconds of its unit, and what comes after that.
fn term<'a>(text: &str, rest: &'a str) -> Result<(&'a str, u128, &'a str), PolicyError> {
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return wrong(format!(
            "{text:?} is no time: expected one such as 5s or 500ms"
        ));
    }
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    if unit.is_empty() {
        return wrong(format!(
            "{text:?} has no unit: expected a time such as 5s or 500ms"
        ));
    }
    match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, nanos)) => Ok((number, *nanos, rest.trim_start())),
        None => wrong(format!(
            "unknown unit {unit:?} in {text:?}: expected ns, us, ms, s, m or h"
        )),
    }
}

/// `number` times `unit`; `None` where that is beyond any time.
fn scaled(text: &str, number: &str, unit: u128) -> Result<Option<u128>, PolicyError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.contains('.') {
        return wrong(format!("{number:?} in {text:?} is no number"));
    }
    let Some(whole) = whole.parse().ok().and_then(|n: u128| n.checked_mul(unit)) else {
        return Ok(None);
    };
    let digits = fraction.trim_end_matches('0');
    let mut part = unit;
    let mut nanos = 0;
    for digit in digits.bytes() {
        if part % 10 != 0 {
            return wrong(format!("{text:?} is finer than a nanosecond"));
        }
        part /= 10;
        nanos += u128::from(digit - b'0') * part;
    }
    Ok(whole.checked_add(nanos))
}

/// A stall time; a shorter one than there is would be taken for another.
pub(super) fn stall(text: &str) -> Result<Duration, PolicyError> {
    let time = time(text)?;
    if time < Policy::SHORTEST_STALL {
        return wrong(format!(
            "{time:?} is shorter than the shortest stall time, {:?}",
            Policy::SHORTEST_STALL
        ));
    }
    Ok(time)
}

pub(super) fn bytes(text: &str) -> Result<u64, PolicyError> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => {
            return wrong(format!(
                "{text:?} is no number of bytes: expected one such as 65536 or 64KiB (KiB, MiB, GiB)"
            ));
        }
    };
    if number.is_empty() {
        return wrong(format!(
            "{text:?} is no number of bytes: expected one such as 65536 or 64KiB"
        ));
    }
    let bytes = number.parse().ok();
    match bytes.and_then(|n: u64| n.checked_mul(1 << shift)) {
        Some(bytes) => Ok(bytes),
        None => wrong(format!("{text:?} is more bytes than 64 bits hold")),
    }
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, PolicyError> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => wrong(format!("{text:?} is neither true nor false")),
    }
}

pub(super) fn side(text: &str) -> Result<Shutdown, PolicyError> {
    match text {
        "read" => Ok(Shutdown::Read),
        "write" => Ok(Shutdown::Write),
        "both" => Ok(Shutdown::Both),
        _ => wrong(format!("{text:?} is no side: expected read, write or both")),
    }
}

pub(super) const fn side_word(side: Shutdown) -> &'static str {
    match side {
        Shutdown::Read => "read",
        Shutdown::Write => "write",
        Shutdown::Both => "both",
    }
}
