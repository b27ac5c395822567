//! Steps that the tracepoints reported, and steps that are missing.

use crate::parse::trace::Trace;
use crate::process::Process;

/// A step, when it happened and who ran, if that is known.
pub(crate) type Step = (u64, Trace, Option<Process>);

/// Steps that are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// How many, as far as that is counted.
    pub count: u64,
    /// None is missing before this moment,
    pub from: u64,
    /// and none after this one; 0 if none is at all.
    pub until: u64,
}

impl Missed {
    /// Whether there are any.
    #[must_use]
    pub(crate) const fn any(&self) -> bool {
        self.until != 0
    }

    /// Some more, from a moment until another.
    pub(crate) fn add(&mut self, count: u64, from: u64, until: u64) {
        self.count += count;
        self.from = if self.any() {
            self.from.min(from)
        } else {
            from
        };
        self.until = self.until.max(until);
    }

    /// These steps, which are in the order of time; says how many they are.
    pub(crate) fn steps(&mut self, steps: &[Step]) -> u64 {
        if let ([(first, ..), ..], [.., (last, ..)]) = (steps, steps) {
            self.add(0, *first, *last);
        }
        steps.len() as u64
    }
}
