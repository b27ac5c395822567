//! The last few of something, by key: bounded in number and in age.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::evidence::history::Nanos;

/// Forgets the oldest when full and the old on [`forget_before`](Self::forget_before).
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    map: HashMap<K, (Nanos, V)>,
    order: VecDeque<(Nanos, K)>,
    limit: usize,
}

impl<K: Copy + Eq + Hash, V: Copy> Recent<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            map: HashMap::new(),
            order: VecDeque::new(),
            limit,
        }
    }

    pub(super) fn insert(&mut self, at: Nanos, key: K, value: V) {
        if self.order.len() >= self.limit
            && let Some((oldest, its)) = self.order.pop_front()
            && self.map.get(&its).is_some_and(|(at, _)| *at == oldest)
        {
            self.map.remove(&its);
        }
        self.order.push_back((at, key));
        self.map.insert(key, (at, value));
    }

    pub(super) fn find(&self, key: &K) -> Option<(Nanos, V)> {
        self.map.get(key).copied()
    }

    pub(super) fn forget_before(&mut self, time: Nanos) {
        while let Some((at, key)) = self.order.front().copied()
            && at < time
        {
            self.order.pop_front();
            if self.map.get(&key).is_some_and(|(newest, _)| *newest < time) {
                self.map.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_bounded_and_forgets_the_old() {
        let mut recent = Recent::new(2);
        recent.insert(1, 'a', 1);
        recent.insert(2, 'b', 2);
        recent.insert(3, 'c', 3);
        assert_eq!(recent.find(&'a'), None);
        assert_eq!(recent.find(&'c'), Some((3, 3)));
        recent.forget_before(3);
        assert_eq!(recent.find(&'b'), None);
        assert_eq!(recent.order.len(), 1);
        // The newer of the same key stays when the older is forgotten.
        recent.insert(4, 'c', 4);
        recent.insert(5, 'd', 5);
        assert_eq!(recent.find(&'c'), Some((4, 4)));
    }
}
