//! When steps were missed: what happened then may have gone unseen.

use std::collections::VecDeque;

use crate::evidence::history::Nanos;

/// Gaps told apart; the oldest are taken together.
const GAPS: usize = 64;

/// Stretches of time, both ends included, in the order they became known.
#[derive(Debug, Default)]
pub(super) struct Gaps(VecDeque<(Nanos, Nanos)>);

impl Gaps {
    pub(super) fn add(&mut self, from: Nanos, until: Nanos) {
        if self.0.len() >= GAPS
            && let (Some(a), Some(b)) = (self.0.pop_front(), self.0.pop_front())
        {
            self.0.push_front((a.0.min(b.0), a.1.max(b.1)));
        }
        self.0.push_back((from.min(until), until));
    }

    /// Whether any was there at all.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// When the last of them was over.
    pub(super) fn last(&self) -> Option<Nanos> {
        self.0.iter().map(|(_, until)| *until).max()
    }

    /// Whether one of them touches this stretch.
    pub(super) fn touch(&self, from: Nanos, until: Nanos) -> bool {
        self.0.iter().any(|gap| gap.0 <= until && from <= gap.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_kept_apart_until_there_are_too_many() {
        let mut gaps = Gaps::default();
        assert!(!gaps.any());
        for n in 0..2 * GAPS as u64 {
            gaps.add(100 * n + 10, 100 * n + 20);
        }
        assert_eq!(gaps.0.len(), GAPS);
        // Forgotten is none; between old ones nothing is certain any more.
        assert!(gaps.touch(15, 15) && gaps.touch(50, 60));
        let last = 100 * (2 * GAPS as u64 - 1);
        assert!(gaps.touch(last + 20, last + 90));
        assert!(!gaps.touch(last + 21, last + 90) && !gaps.touch(last - 70, last + 9));
        assert_eq!(gaps.last(), Some(last + 20));
    }
}
