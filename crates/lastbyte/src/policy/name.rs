//! The refinements of a [`Policy`] by name.

use std::fmt;
use std::str::FromStr;

use super::Policy;
use super::values::{PolicyError, bytes, side, stall, time, wrong, yes_or_no};
use crate::linger::Linger;

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

    /// Returns whether `linger` takes any notice of it.
    const fn applies_to(self, linger: Linger) -> bool {
        match self {
            Self::ShutDown => true,
            Self::Receipt => matches!(linger, Linger::Off),
            Self::Stall | Self::Confirm | Self::DrainBytes | Self::DrainTime | Self::TimeWait => {
                !matches!(linger, Linger::Abort)
            }
        }
    }

    /// Returns whether `policy` has it set to something.
    pub(super) fn is_set_in(self, policy: &Policy) -> bool {
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
