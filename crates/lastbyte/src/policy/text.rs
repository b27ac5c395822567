//! [`Policy`] and [`Linger`] as text: what a configuration file or a command line says.

use std::fmt;
use std::net::Shutdown;
use std::str::FromStr;
use std::time::Duration;

use super::Policy;
use crate::linger::Linger;

/// Says what is wrong with the text of a [`Policy`] or [`Linger`], or with a combination
/// of refinements. It names the part that is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(String);

impl PolicyError {
    #[cfg(feature = "serde")]
    pub(super) const fn new(message: String) -> Self {
        Self(message)
    }

    /// The same, about the value of the refinement `name`.
    pub(super) fn of(self, name: Name) -> Self {
        Self(format!("{name}: {}", self.0))
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

fn wrong<T>(message: String) -> Result<T, PolicyError> {
    Err(PolicyError(message))
}

/// A refinement, by the name of its getter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Stall,
    Confirm,
    DrainBytes,
    DrainTime,
    TimeWait,
    ShutDown,
    Receipt,
}

impl Name {
    pub(super) const ALL: [Self; 7] = [
        Self::Stall,
        Self::Confirm,
        Self::DrainBytes,
        Self::DrainTime,
        Self::TimeWait,
        Self::ShutDown,
        Self::Receipt,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Stall => "stall",
            Self::Confirm => "confirm",
            Self::DrainBytes => "drain_bytes",
            Self::DrainTime => "drain_time",
            Self::TimeWait => "time_wait",
            Self::ShutDown => "shut_down",
            Self::Receipt => "receipt",
        }
    }

    /// Whether `linger` takes any notice of it.
    const fn applies_to(self, linger: Linger) -> bool {
        match self {
            Self::ShutDown => true,
            Self::Receipt => matches!(linger, Linger::Off),
            Self::Stall | Self::Confirm | Self::DrainBytes | Self::DrainTime | Self::TimeWait => {
                !matches!(linger, Linger::Abort)
            }
        }
    }

    /// Whether `policy` has it set to something.
    fn is_set_in(self, policy: &Policy) -> bool {
        let plain = Policy::new(policy.linger);
        match self {
            Self::Stall => policy.stall != plain.stall,
            Self::Confirm => policy.confirm != plain.confirm,
            Self::DrainBytes => policy.drain_bytes != plain.drain_bytes,
            Self::DrainTime => policy.drain_time != plain.drain_time,
            Self::TimeWait => policy.time_wait != plain.time_wait,
            Self::ShutDown => policy.shut != plain.shut,
            Self::Receipt => policy.receipt != plain.receipt,
        }
    }

    pub(super) fn check(self, linger: Linger) -> Result<(), PolicyError> {
        if self.applies_to(linger) {
            return Ok(());
        }
        let word = match linger {
            Linger::Off => "off",
            Linger::Abort => "abort",
            Linger::Wait(_) => "wait",
            Linger::Endless { .. } => "endless",
        };
        wrong(format!("{self} has no effect with {word}"))
    }

    /// Sets it to what `value` says.
    pub(super) fn set(self, policy: Policy, value: &str) -> Result<Policy, PolicyError> {
        Ok(match self {
            Self::Stall => policy.with_stall(stall(value)?),
            Self::Confirm => policy.with_confirm(yes_or_no(value)?),
            Self::DrainBytes => policy.with_drain_bytes(bytes(value)?),
            Self::DrainTime => policy.with_drain_time(time(value)?),
            Self::TimeWait => policy.with_time_wait(yes_or_no(value)?),
            Self::ShutDown => policy.with_shut_down(side(value)?),
            Self::Receipt => policy.with_receipt(yes_or_no(value)?),
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Name {
    type Err = PolicyError;

    fn from_str(name: &str) -> Result<Self, PolicyError> {
        match Self::ALL.into_iter().find(|known| known.as_str() == name) {
            Some(known) => Ok(known),
            None => wrong(format!(
                "unknown refinement {name:?}, expected one of {}",
                Self::ALL.map(Self::as_str).join(", ")
            )),
        }
    }
}

impl Policy {
    /// Checks that every refinement that is set has an effect with this policy's linger
    /// option, so that none is ignored. Text is checked for that when it is read; this is
    /// for policies that a program puts together.
    ///
    /// ```
    /// use lastbyte::Policy;
    ///
    /// let error = Policy::abort().with_confirm(true).check().unwrap_err();
    /// assert_eq!(error.to_string(), "confirm has no effect with abort");
    /// ```
    ///
    /// # Errors
    /// The first refinement that has no effect.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.set().try_for_each(|name| name.check(self.linger))
    }

    /// The refinements that are set.
    pub(super) fn set(&self) -> impl Iterator<Item = Name> {
        Name::ALL.into_iter().filter(|name| name.is_set_in(self))
    }
}

impl fmt::Display for Policy {
    /// Writes the linger option and the refinements that are set, as the text that
    /// `from_str` reads: `wait 30s, stall=5s, confirm=true`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.linger)?;
        for name in self.set() {
            write!(f, ", {name}=")?;
            match name {
                Name::Stall => write!(f, "{:?}", self.stall.unwrap_or_default())?,
                Name::Confirm => write!(f, "{}", self.confirm)?,
                Name::DrainBytes => write!(f, "{}", self.drain_bytes)?,
                Name::DrainTime => write!(f, "{:?}", self.drain_time.unwrap_or_default())?,
                Name::TimeWait => write!(f, "{}", self.time_wait)?,
                Name::ShutDown => f.write_str(self.shut_down().map_or("neither", side_word))?,
                Name::Receipt => write!(f, "{}", self.receipt)?,
            }
        }
        Ok(())
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    /// Reads a [`Linger`], and after commas refinements as `name=value`, by the names of
    /// their getters: `wait 30s, stall=5s, confirm=true, drain_bytes=1MiB`.
    ///
    /// Times are as for [`Linger`]. Bytes are a number, or one with `KiB`, `MiB` or `GiB`.
    /// `shut_down` is `read`, `write` or `both`; the others are `true` or `false`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lastbyte::Policy;
    ///
    /// let policy: Policy = "wait 30s, stall=5s, confirm=true".parse()?;
    /// let same = Policy::wait(Duration::from_secs(30))
    ///     .with_stall(Duration::from_secs(5))
    ///     .with_confirm(true);
    /// assert_eq!(policy, same);
    /// let error = "wait 30s, stall=5".parse::<Policy>().unwrap_err();
    /// assert_eq!(error.to_string(), "stall: \"5\" has no unit: expected a time such as 5s or 500ms");
    /// # Ok::<(), lastbyte::PolicyError>(())
    /// ```
    ///
    /// # Errors
    /// A [`PolicyError`] that names the part that is wrong; also where a refinement is
    /// given twice, or has no effect with the linger option.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let mut parts = text.split(',');
        let linger = parts.next().unwrap_or_default().parse()?;
        let mut policy = Policy::new(linger);
        let mut given = Vec::new();
        for part in parts {
            let Some((name, value)) = part.split_once('=') else {
                return wrong(format!(
                    "{:?} is no refinement: expected NAME=VALUE, such as confirm=true",
                    part.trim()
                ));
            };
            let name: Name = name.trim().parse()?;
            if given.contains(&name) {
                return wrong(format!("{name} is given twice"));
            }
            given.push(name);
            name.check(linger)?;
            policy = name
                .set(policy, value.trim())
                .map_err(|error| error.of(name))?;
        }
        Ok(policy)
    }
}

impl FromStr for Linger {
    type Err = PolicyError;

    /// Reads `off`, `abort`, `wait TIME` or a TIME alone, and `endless`, also with the
    /// option's number as [`Linger`] prints it.
    ///
    /// A time is numbers with the units `ns`, `us`, `ms`, `s`, `m` or `min` (minutes) and
    /// `h`: `500ms`, `1.5s`, `1m 30s`. A number without a unit is an error, because the
    /// option's own unit is not the same everywhere.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lastbyte::Linger;
    ///
    /// assert_eq!("wait 1.5s".parse(), Ok(Linger::Wait(Duration::from_millis(1500))));
    /// assert_eq!("off".parse(), Ok(Linger::Off));
    /// let error = "soon".parse::<Linger>().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "\"soon\" is no linger option: expected off, abort, wait TIME or endless",
    /// );
    /// ```
    ///
    /// # Errors
    /// A [`PolicyError`] that names the part that is wrong.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let text = text.trim();
        let (word, rest) = match text.split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (text, ""),
        };
        match (word, rest) {
            ("off", "") => Ok(Linger::Off),
            ("abort", "") => Ok(Linger::Abort),
            ("wait", time) => self::time(time).map(Linger::Wait),
            ("endless", rest) => endless(rest),
            _ if text.starts_with(|c: char| c.is_ascii_digit()) => time(text).map(Linger::Wait),
            _ => wrong(format!(
                "{text:?} is no linger option: expected off, abort, wait TIME or endless"
            )),
        }
    }
}

fn endless(rest: &str) -> Result<Linger, PolicyError> {
    if rest.is_empty() {
        return Ok(Linger::Endless { l_linger: -1 });
    }
    let number = rest.strip_prefix("(l_linger ");
    let number = number.and_then(|rest| rest.strip_suffix(')')?.parse().ok());
    match number {
        Some(l_linger) if l_linger < 0 => Ok(Linger::Endless { l_linger }),
        _ => wrong(format!(
            "{rest:?} after endless: expected nothing, or a negative number as in (l_linger -1)"
        )),
    }
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

fn yes_or_no(text: &str) -> Result<bool, PolicyError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::{LINGERS, policies};

    #[test]
    fn every_linger_is_read_back_as_it_was_written() {
        for linger in LINGERS {
            assert_eq!(linger.to_string().parse(), Ok(linger), "{linger}");
        }
    }

    /// All combinations: what has an effect is read back, what has none is refused by its
    /// name.
    #[test]
    fn every_policy_is_read_back_or_refused() {
        let (mut read, mut refused) = (0, 0);
        for policy in policies() {
            let text = policy.to_string();
            match policy.check() {
                Ok(()) => {
                    assert_eq!(text.parse(), Ok(policy), "{text}");
                    read += 1;
                }
                Err(error) => {
                    assert_eq!(text.parse::<Policy>(), Err(error.clone()), "{text}");
                    let name = error.to_string();
                    let name = name.split(' ').next().unwrap_or_default();
                    assert!(text.contains(&format!("{name}=")), "{text}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(read > 500 && refused > 500, "{read} {refused}");
    }

    #[test]
    fn times_are_exact_and_add_up() {
        let ok = |text: &str, nanos: u64| {
            assert_eq!(time(text), Ok(Duration::from_nanos(nanos)), "{text}");
        };
        ok("0s", 0);
        ok("1ns", 1);
        ok("1.5us", 1500);
        ok("1.5µs", 1500);
        ok("500ms", 500_000_000);
        ok(" 5 s ", 5_000_000_000);
        ok("1.000000001s", 1_000_000_001);
        ok("1m 30s", 90_000_000_000);
        ok("1min30s", 90_000_000_000);
        ok("0.5h", 1_800_000_000_000);
        ok("1.50s", 1_500_000_000);
        assert_eq!(time(&format!("{:?}", Duration::MAX)), Ok(Duration::MAX));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str, part: &str| {
            let error = text.parse::<Policy>().unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        };
        wrong("", "\"\" is no linger option");
        wrong("waits 5s", "\"waits 5s\" is no linger option");
        wrong("off 5s", "\"off 5s\" is no linger option");
        wrong("wait", "the time is missing");
        wrong("wait 5", "\"5\" has no unit");
        wrong("5", "\"5\" has no unit");
        wrong("wait -5s", "\"-5s\" is no time");
        wrong(
            "wait 5 parsecs",
            "unknown unit \"parsecs\" in \"5 parsecs\"",
        );
        wrong("wait 5s later", "\"5s later\" is no time");
        wrong("wait 1..5s", "\"1..5\" in \"1..5s\" is no number");
        wrong("wait 1.s", "\"1.\" in \"1.s\" is no number");
        wrong("wait 0.5ns", "finer than a nanosecond");
        wrong("wait 99999999999999999999s", "too long a time");
        wrong("wait 18446744073709551616s", "too long a time");
        wrong(&format!("wait {}s", "9".repeat(60)), "too long a time");
        wrong("endless (l_linger 1)", "a negative number");
        wrong("endless soon", "\"soon\" after endless");
        wrong("wait 5s, confirm", "\"confirm\" is no refinement");
        wrong("wait 5s,", "\"\" is no refinement");
        wrong("wait 5s, stal=1s", "unknown refinement \"stal\"");
        wrong("wait 5s, stal=1s", "stall, confirm, drain_bytes");
        wrong("wait 5s, stall=9ms", "stall: 9ms is shorter");
        wrong("wait 5s, stall=", "stall: the time is missing");
        wrong(
            "wait 5s, confirm=yes",
            "confirm: \"yes\" is neither true nor false",
        );
        wrong(
            "wait 5s, drain_bytes=many",
            "drain_bytes: \"many\" is no number",
        );
        wrong("wait 5s, drain_bytes=1MB", "KiB, MiB, GiB");
        wrong("wait 5s, drain_bytes=99999999999GiB", "64 bits");
        wrong("wait 5s, shut_down=left", "shut_down: \"left\" is no side");
        wrong("wait 5s, stall=1s, stall=2s", "stall is given twice");
        wrong("wait 5s, receipt=true", "receipt has no effect with wait");
        wrong(
            "abort, time_wait=true",
            "time_wait has no effect with abort",
        );
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes("65536"), Ok(1 << 16));
        assert_eq!(bytes("64KiB"), Ok(1 << 16));
        assert_eq!(bytes("3 MiB"), Ok(3 << 20));
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes(&u64::MAX.to_string()), Ok(u64::MAX));
    }
}
