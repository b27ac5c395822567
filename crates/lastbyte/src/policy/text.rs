//! [`Policy`] and [`Linger`] as text: what a configuration file or a command line says.

use std::fmt;
use std::str::FromStr;

use super::Policy;
use super::name::Name;
use super::values::{PolicyError, side_word, time, wrong};
use crate::linger::Linger;

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::samples::{LINGERS, policies};
    use crate::policy::values::bytes;

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
