//! What was not covered: closes that the shims left to the kernel, and programs that no
//! shim is in.

use std::collections::BTreeMap;
use std::fmt;

use lastbyte_handoff::{Left, Shared};
use serde::Serialize;

/// The end of the log and of the summary. What is lost on a connection that the kernel
/// closes is seen by nobody here, so its bytes are never said to be 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Closes that were left to the kernel although the contract asks for more.
    pub closes: u64,
    /// The same by reason; reasons that did not occur are missing.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Bytes lost on them: 0 if there was none and every program was covered, else null.
    pub lost: Option<u64>,
    /// Programs that were not covered, or not to their end, and why.
    pub uncovered: Vec<String>,
}

impl Account {
    pub(crate) fn new(shared: &Shared, uncovered: Vec<String>) -> Self {
        let reasons: BTreeMap<_, _> = Left::ALL
            .into_iter()
            .map(|left| (left.reason(), shared.left(left)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let closes = reasons
            .values()
            .fold(0, |sum: u64, count| sum.saturating_add(*count));
        let is_whole = closes == 0 && uncovered.is_empty();
        Self {
            closes,
            reasons,
            lost: is_whole.then_some(0),
            uncovered,
        }
    }

    /// Whether all closes that a shim can see were covered, in all programs.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lost.is_some()
    }
}

impl fmt::Display for Account {
    /// Lines for people; nothing where nothing is missing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.closes > 0 {
            let s = if self.closes == 1 { "" } else { "s" };
            write!(f, "{} close{s} left to the kernel (", self.closes)?;
            for (index, (reason, count)) in self.reasons.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{reason}: {count}")?;
            }
            write!(f, "); bytes lost there: unknown")?;
        }
        if !self.uncovered.is_empty() {
            let start = if self.closes > 0 { "; " } else { "" };
            let names = self.uncovered.join("; ");
            write!(f, "{start}not covered, with all their connections: {names}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Box<Shared> {
        // SAFETY: `Shared` is all integer atomics, for which zero is a value.
        unsafe { Box::<Shared>::new_zeroed().assume_init() }
    }

    #[test]
    fn nothing_missing_is_nothing_lost() {
        let account = Account::new(&shared(), Vec::new());
        assert!(account.is_whole());
        assert_eq!(account.lost, Some(0));
        assert_eq!(account.to_string(), "");
    }

    #[test]
    fn what_was_left_is_counted_by_reason_and_its_loss_is_unknown() {
        let shared = shared();
        for left in [Left::Full, Left::Holders, Left::Full] {
            shared.count(left);
        }
        let account = Account::new(&shared, vec!["ring (process 7) uses an io_uring".into()]);
        assert_eq!((account.closes, account.lost), (3, None));
        assert_eq!(
            account.to_string(),
            "3 closes left to the kernel (another process may hold it: 1, no descriptor was free \
             for it: 2); bytes lost there: unknown; not covered, with all their connections: \
             ring (process 7) uses an io_uring"
        );
    }

    #[test]
    fn an_uncovered_program_leaves_the_loss_unknown() {
        let account = Account::new(&shared(), vec!["x".into()]);
        assert!(!account.is_whole());
        assert_eq!(
            serde_json::to_value(&account).expect("plain")["lost"],
            serde_json::Value::Null
        );
    }
}
