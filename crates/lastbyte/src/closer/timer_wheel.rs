//! Deadlines whose cost does not grow with their number: a hierarchical timing
//! wheel (Varghese and Lauck, 1987).
//!
//! Six levels of 64 slots; a slot of level `n` spans 64ⁿ ticks. A timer sits in
//! the level that its distance asks for and moves down as its time comes near.
//! Setting, clearing and finding the next are constant; a timer moves at most
//! five times. Nothing fires early; a tick is the most that it is late.

/// About a millisecond, so that a time becomes a tick by a shift.
const TICK_SHIFT: u32 = 20;
const LEVELS: usize = 6;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const NONE: u32 = u32::MAX;

/// The timers of places numbered from 0, one each.
pub(super) struct TimerWheel {
    /// Ticks up to here have been expired.
    now: u64,
    links: Vec<Link>,
    heads: [[u32; SLOTS]; LEVELS],
    /// Which slots of a level have a timer.
    used: [u64; LEVELS],
    /// Due at or before `now`.
    ready: u32,
}

#[derive(Clone, Copy)]
struct Link {
    due: u64,
    next: u32,
    prev: u32,
    list: List,
}

/// Where a timer is, if anywhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Unset,
    Ready,
    Slot { level: u8, slot: u8 },
}

const UNSET: Link = Link {
    due: 0,
    next: NONE,
    prev: NONE,
    list: List::Unset,
};

impl TimerWheel {
    pub(super) const fn new() -> Self {
        Self {
            now: 0,
            links: Vec::new(),
            heads: [[NONE; SLOTS]; LEVELS],
            used: [0; LEVELS],
            ready: NONE,
        }
    }

    /// Sets the timer of a place, in nanoseconds since the wheel's beginning, or
    /// clears it.
    pub(super) fn set(&mut self, place: u32, due: Option<u64>) {
        if self.links.len() <= place as usize {
            if due.is_none() {
                return;
            }
            self.links.resize(place as usize + 1, UNSET);
        }
        let due = due.map(|ns| ns.div_ceil(1 << TICK_SHIFT));
        let link = self.links[place as usize];
        if due == Some(link.due) && link.list != List::Unset {
            return;
        }
        self.unlink(place);
        if let Some(due) = due {
            self.links[place as usize].due = due;
            self.link(place);
        }
    }

    /// Returns when the next tick is due, in nanoseconds since the wheel's
    /// beginning: a timer is due then, or nearer than its level holds.
    pub(super) fn next_tick(&self) -> Option<u64> {
        if self.ready != NONE {
            return Some(self.now << TICK_SHIFT);
        }
        let tick = (0..LEVELS).filter_map(|level| self.next_of(level)).min()?;
        Some(tick << TICK_SHIFT)
    }

    /// A place whose timer is due at `now`, in nanoseconds since the wheel's
    /// beginning. Its timer is cleared.
    pub(super) fn pop(&mut self, now: u64) -> Option<u32> {
        let now = now >> TICK_SHIFT;
        while self.ready == NONE {
            let (level, tick) = (0..LEVELS)
                .filter_map(|level| Some((level, self.next_of(level)?)))
                .min_by_key(|&(level, tick)| (tick, std::cmp::Reverse(level)))?;
            if tick > now {
                self.now = self.now.max(now);
                return None;
            }
            self.now = self.now.max(tick);
            self.empty_slot(level, slot_of(tick, level));
        }
        let place = self.ready;
        self.unlink(place);
        Some(place)
    }

    /// The tick at which the next used slot of a level begins.
    fn next_of(&self, level: usize) -> Option<u64> {
        let used = self.used[level];
        if used == 0 {
            return None;
        }
        let shift = BITS * level as u32;
        let here = self.now >> shift;
        // Slots behind the present one belong to the next turn.
        let ahead = used
            .rotate_right((here % SLOTS as u64) as u32)
            .trailing_zeros();
        Some((here + u64::from(ahead)) << shift)
    }

    /// Puts the timers of a slot where they belong now.
    fn empty_slot(&mut self, level: usize, slot: usize) {
        let mut place = std::mem::replace(&mut self.heads[level][slot], NONE);
        self.used[level] &= !(1 << slot);
        while place != NONE {
            let next = self.links[place as usize].next;
            self.links[place as usize].list = List::Unset;
            self.link(place);
            place = next;
        }
    }

    fn link(&mut self, place: u32) {
        let due = self.links[place as usize].due;
        let (list, head) = if due <= self.now {
            (List::Ready, &mut self.ready)
        } else {
            // The level at which due and now first differ, from the top.
            let level = ((due ^ self.now).ilog2() / BITS).min(LEVELS as u32 - 1) as usize;
            // The last level goes round; what is further away than one round
            // waits in its furthest slot and is placed again.
            let round = BITS * (LEVELS as u32 - 1);
            let furthest = (self.now >> round) + SLOTS as u64 - 1;
            let slot = slot_of(due.min(furthest << round), level);
            self.used[level] |= 1 << slot;
            let list = List::Slot {
                level: level as u8,
                slot: slot as u8,
            };
            (list, &mut self.heads[level][slot])
        };
        let next = std::mem::replace(head, place);
        if next != NONE {
            self.links[next as usize].prev = place;
        }
        let link = &mut self.links[place as usize];
        link.list = list;
        link.next = next;
        link.prev = NONE;
    }

    fn unlink(&mut self, place: u32) {
        let Link {
            next, prev, list, ..
        } = self.links[place as usize];
        let head = match list {
            List::Unset => return,
            List::Ready => &mut self.ready,
            List::Slot { level, slot } => &mut self.heads[level as usize][slot as usize],
        };
        if prev == NONE {
            *head = next;
            if let (NONE, List::Slot { level, slot }) = (next, list) {
                self.used[level as usize] &= !(1 << slot);
            }
        } else {
            self.links[prev as usize].next = next;
        }
        if next != NONE {
            self.links[next as usize].prev = prev;
        }
        self.links[place as usize].list = List::Unset;
    }
}

fn slot_of(tick: u64, level: usize) -> usize {
    (tick >> (BITS * level as u32)) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const TICK: u64 = 1 << TICK_SHIFT;

    #[derive(Clone, Debug)]
    enum Op {
        Set(u32, u64),
        Clear(u32),
        Pass(u64),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        // Distances of every size, up to far beyond the last level.
        let far = (0u32..60, any::<u64>()).prop_map(|(bits, x)| x >> (63 - bits));
        let near = 0u64..1 << 34;
        let op = prop_oneof![
            3 => (0u32..40, near.clone()).prop_map(|(place, ns)| Op::Set(place, ns)),
            1 => (0u32..40, far.clone()).prop_map(|(place, ns)| Op::Set(place, ns)),
            1 => (0u32..40).prop_map(Op::Clear),
            2 => near.prop_map(Op::Pass),
            1 => far.prop_map(Op::Pass),
        ];
        prop::collection::vec(op, 1..120)
    }

    proptest! {
        /// As a sorted map would: each timer fires once, never early, and at the
        /// turn that `next_tick` announced.
        #[test]
        fn fires_what_is_due_and_nothing_else(ops in ops()) {
            let mut wheel = TimerWheel::new();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0u64;
            for op in ops {
                match op {
                    Op::Set(place, after) => {
                        let due = now.saturating_add(after).min(1 << 62);
                        wheel.set(place, Some(due));
                        model.insert(place, due.div_ceil(TICK));
                    }
                    Op::Clear(place) => {
                        wheel.set(place, None);
                        model.remove(&place);
                    }
                    Op::Pass(time) => now = now.saturating_add(time).min(1 << 61),
                }
                while let Some(place) = wheel.pop(now) {
                    let due = model.remove(&place);
                    prop_assert!(due.is_some_and(|due| due <= now / TICK), "{place} {due:?}");
                }
                prop_assert!(model.values().all(|&due| due > now / TICK), "late");
                match (wheel.next_tick(), model.values().min()) {
                    (None, None) => {}
                    (Some(turn), Some(&due)) => {
                        prop_assert!(turn > now, "would spin");
                        prop_assert!(turn <= due * TICK, "would be late");
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }

    #[test]
    fn turns_are_few() {
        let mut wheel = TimerWheel::new();
        wheel.set(0, Some(3600 * 1_000_000_000));
        let mut turns = 0;
        loop {
            let now = wheel.next_tick().unwrap();
            turns += 1;
            if wheel.pop(now).is_some() {
                break;
            }
        }
        assert!(turns <= LEVELS, "{turns}");
    }
}
