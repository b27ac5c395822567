//! What was not covered: closes that the shims left to the kernel, and programs that no
//! shim is in.

use std::collections::BTreeMap;
use std::fmt;

use lastbyte_run_protocol::{Left, Shared};
use serde::Serialize;

use crate::connections::Tally;

/// The end of the log and of the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Connections that were left to the kernel although the contract asks for more.
    pub closes: u64,
    /// The same by reason; reasons that did not occur are missing.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Bytes lost on them; null where that is not known of all, and where a program was
    /// not covered.
    pub lost: Option<u64>,
    /// Bytes lost on those of which it is known.
    pub known_lost: u64,
    /// Connections that were still open when the command ended.
    pub open: u64,
    /// Connections that could not be followed: there were too many.
    pub unfollowed: u64,
    /// Programs that were not covered, or not to their end, and why.
    pub uncovered: Vec<String>,
}

/// What an account is made of.
pub(crate) struct Parts<'a> {
    /// Closes that the shims counted themselves, because the supervisor could not be told.
    pub(crate) shared: &'a Shared,
    /// All others, by the reason's index.
    pub(crate) left: &'a BTreeMap<usize, Tally>,
    pub(crate) open: u64,
    pub(crate) unfollowed: u64,
    pub(crate) uncovered: Vec<String>,
}

impl Account {
    pub(crate) fn new(parts: Parts<'_>) -> Self {
        let mut account = Self {
            open: parts.open,
            unfollowed: parts.unfollowed.saturating_add(parts.shared.unannounced()),
            uncovered: parts.uncovered,
            ..Self::default()
        };
        let mut all_known = account.uncovered.is_empty() && account.unfollowed == 0;
        for reason in Left::ALL {
            let counted = parts.shared.left(reason);
            let tally = parts.left.get(&reason.index()).copied().unwrap_or_default();
            let closes = counted.saturating_add(tally.closes);
            if closes > 0 {
                account.reasons.insert(reason.reason(), closes);
            }
            account.closes = account.closes.saturating_add(closes);
            account.known_lost = account.known_lost.saturating_add(tally.lost.known);
            all_known &= counted == 0 && tally.lost.unknown == 0;
        }
        account.lost = all_known.then_some(account.known_lost);
        account
    }

    /// Whether every connection was covered, as far as anything was seen.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.closes == 0 && self.open == 0 && self.unfollowed == 0 && self.uncovered.is_empty()
    }

    fn bytes_lost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.lost, self.known_lost) {
            (Some(lost), _) => write!(f, "bytes lost there: {lost}"),
            (None, 0) => write!(f, "bytes lost there: unknown"),
            (None, known) => write!(f, "bytes lost there: {known}, and unknown in others"),
        }
    }
}

impl fmt::Display for Account {
    /// Lines for people; nothing where nothing is missing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut start = "";
        if self.closes > 0 {
            write!(f, "{} left to the kernel (", connections(self.closes))?;
            for (index, (reason, count)) in self.reasons.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{reason}: {count}")?;
            }
            write!(f, "); ")?;
            self.bytes_lost(f)?;
            start = "; ";
        }
        if self.open > 0 {
            write!(f, "{start}{} still open", connections(self.open))?;
            start = "; ";
        }
        if self.unfollowed > 0 {
            let connections = connections(self.unfollowed);
            write!(f, "{start}{connections} not followed, being too many")?;
            start = "; ";
        }
        if !self.uncovered.is_empty() {
            let names = self.uncovered.join("; ");
            write!(f, "{start}not covered, with all their connections: {names}")?;
        }
        Ok(())
    }
}

fn connections(number: u64) -> String {
    format!("{number} connection{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Sum;

    fn shared() -> Box<Shared> {
        // SAFETY: `Shared` is all integer atomics, for which zero is a value.
        unsafe { Box::<Shared>::new_zeroed().assume_init() }
    }

    fn account(shared: &Shared, left: &[(Left, Tally)], uncovered: &[&str]) -> Account {
        let left = left.iter().map(|(left, tally)| (left.index(), *tally));
        Account::new(Parts {
            shared,
            left: &left.collect(),
            open: 0,
            unfollowed: 0,
            uncovered: uncovered.iter().map(|text| (*text).to_owned()).collect(),
        })
    }

    fn tally(closes: u64, known: u64, unknown: u64) -> Tally {
        let lost = Sum { known, unknown };
        Tally { closes, lost }
    }

    #[test]
    fn nothing_missing_is_nothing_lost() {
        let account = account(&shared(), &[], &[]);
        assert!(account.is_whole());
        assert_eq!(account.lost, Some(0));
        assert_eq!(account.to_string(), "");
    }

    #[test]
    fn what_was_left_is_counted_by_reason_with_the_bytes_lost() {
        let left = [(Left::Ended, tally(2, 70, 0)), (Left::Full, tally(1, 0, 0))];
        let account = account(&shared(), &left, &[]);
        assert_eq!((account.closes, account.lost), (3, Some(70)));
        assert_eq!(
            account.to_string(),
            "3 connections left to the kernel (its process ended without closing it: 2, no \
             descriptor was free for it: 1); bytes lost there: 70"
        );
    }

    #[test]
    fn one_that_is_not_known_leaves_the_sum_unknown() {
        let account = account(&shared(), &[(Left::Ended, tally(2, 70, 1))], &[]);
        assert_eq!((account.lost, account.known_lost), (None, 70));
        assert!(account.to_string().ends_with("70, and unknown in others"));
    }

    #[test]
    fn what_a_shim_could_only_count_is_unknown() {
        let shared = shared();
        for left in [Left::Full, Left::Holders, Left::Full] {
            shared.count(left);
        }
        let account = account(&shared, &[], &["ring (process 7) uses an io_uring"]);
        assert_eq!((account.closes, account.lost), (3, None));
        assert_eq!(
            account.to_string(),
            "3 connections left to the kernel (another process may hold it: 1, no descriptor was \
             free for it: 2); bytes lost there: unknown; not covered, with all their connections: \
             ring (process 7) uses an io_uring"
        );
    }

    #[test]
    fn an_uncovered_program_leaves_the_loss_unknown() {
        let account = account(&shared(), &[], &["x"]);
        assert!(!account.is_whole());
        assert_eq!(
            serde_json::to_value(&account).expect("plain")["lost"],
            serde_json::Value::Null
        );
    }

    #[test]
    fn each_kind_of_what_was_not_covered_is_named_alone_and_together() {
        let text = |closes, open, unfollowed| {
            let account = Account {
                closes,
                lost: Some(0),
                open,
                unfollowed,
                ..Account::default()
            };
            assert!(!account.is_whole());
            account.to_string()
        };
        assert_eq!(text(0, 1, 0), "1 connection still open");
        assert_eq!(text(0, 0, 2), "2 connections not followed, being too many");
        assert_eq!(
            text(1, 2, 3),
            "1 connection left to the kernel (); bytes lost there: 0; 2 connections still open; \
             3 connections not followed, being too many"
        );
    }
}
