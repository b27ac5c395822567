//! How many descriptors may be held, and whose they may be.
//!
//! What one user's processes hand over must not use up what the others' need: the
//! users besides our own share a part of the room, and none of them gets all of that.

use std::collections::HashMap;

/// Descriptors kept free: for what is in the channel when we call ourselves full, for
/// all that one message can bring, and for looking into /proc.
const RESERVE: u64 = 1024;
/// Our own: standard ones, the channel, signals, threads' wakers.
const OWN: u64 = 24;

#[derive(Debug)]
pub(crate) struct DescriptorBudget {
    total: usize,
    reserve: usize,
    own: u32,
}

/// What is held for a user now.
pub(crate) type Held = HashMap<u32, usize>;

impl DescriptorBudget {
    /// The room that a limit of open files leaves; `own` is our user.
    pub(crate) fn new(limit: u64, own: u32) -> Self {
        let reserve = RESERVE.min(limit / 4);
        let total = limit
            .saturating_sub(reserve)
            .saturating_sub(OWN.min(limit / 8));
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            total: count(total),
            reserve: count(reserve),
            own,
        }
    }

    #[cfg(test)]
    fn total(&self) -> usize {
        self.total
    }

    /// Whether nothing more can be taken, even from our own user, who has a part that
    /// nobody else can use up.
    pub(crate) fn is_full(&self, held: &Held) -> bool {
        let ours = held.get(&self.own).copied().unwrap_or(0);
        ours >= self.total / 16 && held.values().sum::<usize>() >= self.total
    }

    /// Whether not even the next message may be read: what was refused is still open.
    pub(crate) fn is_exhausted(&self, held: &Held) -> bool {
        held.values().sum::<usize>() >= self.total + self.reserve / 2
    }

    /// Whether `user` has all it may have, so that its programs are to send no more.
    pub(crate) fn is_full_for(&self, user: u32, held: &Held) -> bool {
        if user == self.own {
            return self.is_full(held);
        }
        self.has_share(user, held, 12, 14) || self.is_full(held)
    }

    /// Whether what `user` sent has to be refused. What was sent before its programs
    /// could know is still taken, as far as there is room at all.
    pub(crate) fn must_refuse(&self, user: u32, held: &Held) -> bool {
        let is_beyond = user != self.own && self.has_share(user, held, 13, 15);
        is_beyond || self.is_exhausted(held)
    }

    /// Whether a user, or all besides our own, have so many sixteenths.
    fn has_share(&self, user: u32, held: &Held, one: usize, all: usize) -> bool {
        let others: usize = held
            .iter()
            .filter(|(user, _)| **user != self.own)
            .map(|(_, count)| count)
            .sum();
        let of = |sixteenths: usize| self.total / 16 * sixteenths;
        held.get(&user).copied().unwrap_or(0) >= of(one) || others >= of(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_user_can_fill_the_room() {
        let budget = DescriptorBudget::new(20_000, 0);
        let mut held = Held::new();
        while !budget.is_full_for(33, &held) {
            *held.entry(33).or_default() += 1;
        }
        assert!(!budget.is_full_for(34, &held));
        while !budget.is_full_for(34, &held) {
            *held.entry(34).or_default() += 1;
        }
        assert!(!budget.is_full_for(0, &held), "our own user's part is left");
        assert!(!budget.is_full(&held));
        while !budget.must_refuse(33, &held) || !budget.must_refuse(34, &held) {
            *held.entry(34).or_default() += 1;
        }
        assert!(!budget.is_full_for(0, &held), "nor can they by sending on");
        assert!(budget.total() - held.values().sum::<usize>() >= 1000);
        *held.entry(33).or_default() += 2000;
        assert!(
            !budget.is_full_for(0, &held),
            "nor while refused ones are open"
        );
    }

    #[test]
    fn our_own_user_may_have_all() {
        let budget = DescriptorBudget::new(1024, 0);
        let held = Held::from([(0, budget.total() - 1)]);
        assert!(!budget.is_full_for(0, &held));
        let held = Held::from([(0, budget.total())]);
        assert!(budget.is_full_for(0, &held) && budget.is_full(&held));
        assert!(
            !budget.must_refuse(0, &held),
            "what was sent already is taken"
        );
        let held = Held::from([(0, budget.total() + budget.reserve / 2)]);
        assert!(budget.must_refuse(0, &held) && budget.is_exhausted(&held));
    }

    #[test]
    fn a_small_limit_leaves_some_room() {
        let budget = DescriptorBudget::new(40, 0);
        assert!((20..=28).contains(&budget.total()), "{budget:?}");
    }
}
