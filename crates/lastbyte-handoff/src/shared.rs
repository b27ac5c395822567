//! The block of memory both sides map.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::slot::{Slot, Ticket};

/// The layout's version: shim and undertaker must agree on it.
pub const VERSION: u32 = 1;

const MAGIC: u32 = 0x6c62_736d;
const SLOTS: usize = 4096;
const ALONE: usize = 16_384;
/// Beyond this the set is called full, so that a probe always ends soon.
const ALONE_MOST: u32 = (ALONE / 4 * 3) as u32;

/// What `--linger` asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    /// Nothing: each socket's own option decides.
    None,
    /// Off.
    Off,
    /// Abort.
    Abort,
    /// Wait so many milliseconds.
    Wait(u64),
}

/// How a run was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `--linger`.
    pub linger: Override,
    /// Every ending is wanted for a log or a summary, however simple.
    pub observed: bool,
}

/// Settings, marks and answers of one run. Always behind a shared mapping.
#[derive(Debug)]
#[repr(C)]
pub struct Shared {
    magic: AtomicU32,
    version: AtomicU32,
    linger_kind: AtomicU32,
    observed: AtomicU32,
    linger_ms: AtomicU64,
    full: AtomicU32,
    blind: AtomicU32,
    alone_used: AtomicU32,
    arrived: AtomicU32,
    alone: [AtomicU64; ALONE],
    slots: [Slot; SLOTS],
}

impl Shared {
    /// Fills in a zeroed block.
    pub fn prepare(&self, settings: Settings) {
        let (kind, ms) = match settings.linger {
            Override::None => (0, 0),
            Override::Off => (1, 0),
            Override::Abort => (2, 0),
            Override::Wait(ms) => (3, ms),
        };
        self.linger_kind.store(kind, Ordering::Relaxed);
        self.linger_ms.store(ms, Ordering::Relaxed);
        self.observed
            .store(u32::from(settings.observed), Ordering::Relaxed);
        self.version.store(VERSION, Ordering::Relaxed);
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// Whether this is a block of this version.
    pub fn is_ours(&self) -> bool {
        self.magic.load(Ordering::Acquire) == MAGIC
            && self.version.load(Ordering::Relaxed) == VERSION
    }

    /// How the run was started.
    pub fn settings(&self) -> Settings {
        Settings {
            linger: match self.linger_kind.load(Ordering::Relaxed) {
                1 => Override::Off,
                2 => Override::Abort,
                3 => Override::Wait(self.linger_ms.load(Ordering::Relaxed)),
                _ => Override::None,
            },
            observed: self.observed.load(Ordering::Relaxed) != 0,
        }
    }

    /// Called by each shim that came up.
    pub fn arrive(&self) {
        self.arrived.store(1, Ordering::Relaxed);
    }

    /// Whether any shim came up.
    pub fn has_arrival(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) != 0
    }

    /// Says whether the undertaker can take no more sockets for now.
    pub fn set_full(&self, full: bool) {
        self.full.store(u32::from(full), Ordering::Relaxed);
    }

    /// Whether the undertaker can take no more sockets for now.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) != 0
    }

    /// From now on nobody can tell which process holds which socket.
    pub fn set_blind(&self) {
        self.blind.store(1, Ordering::Relaxed);
    }

    /// Whether [`set_blind`](Self::set_blind) was called.
    pub fn is_blind(&self) -> bool {
        self.blind.load(Ordering::Relaxed) != 0
    }

    /// Marks a socket as one whose holders cannot be known: it may lie in a
    /// message, or with a process outside the run.
    pub fn leave_alone(&self, cookie: u64) {
        if cookie == 0 || self.alone_used.load(Ordering::Relaxed) >= ALONE_MOST {
            self.set_blind();
            return;
        }
        for place in self.probe(cookie) {
            match place.compare_exchange(0, cookie, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.alone_used.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(there) if there == cookie => return,
                Err(_) => {}
            }
        }
        self.set_blind();
    }

    /// Whether the socket was marked.
    pub fn is_left_alone(&self, cookie: u64) -> bool {
        for place in self.probe(cookie) {
            match place.load(Ordering::Acquire) {
                0 => return false,
                there if there == cookie => return true,
                _ => {}
            }
        }
        true
    }

    fn probe(&self, cookie: u64) -> impl Iterator<Item = &AtomicU64> {
        let start = (cookie.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % ALONE;
        let (before, after) = self.alone.split_at(start);
        after.iter().chain(before)
    }

    /// Claims a slot, starting the search at `hint`. `None` where all are taken.
    pub fn claim(&self, hint: u32) -> Option<(u32, Ticket)> {
        let start = hint as usize % SLOTS;
        (start..SLOTS).chain(0..start).find_map(|index| {
            let ticket = self.slots.get(index)?.claim()?;
            Some((u32::try_from(index).ok()?, ticket))
        })
    }

    /// The slot of that number.
    pub fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::collections::HashSet;

    fn block() -> Box<Shared> {
        // SAFETY: `Shared` is all integer atomics, for which zero is a value.
        unsafe { Box::<Shared>::new_zeroed().assume_init() }
    }

    #[test]
    fn settings_are_read_as_written() {
        for linger in [
            Override::None,
            Override::Off,
            Override::Abort,
            Override::Wait(1500),
        ] {
            for observed in [false, true] {
                let shared = block();
                assert!(!shared.is_ours());
                shared.prepare(Settings { linger, observed });
                assert!(shared.is_ours());
                assert_eq!(shared.settings(), Settings { linger, observed });
            }
        }
    }

    #[test]
    fn more_marks_than_fit_leave_every_socket_alone() {
        let shared = block();
        for cookie in 1..=u64::from(ALONE_MOST) {
            shared.leave_alone(cookie);
        }
        assert!(!shared.is_blind());
        assert!(!shared.is_left_alone(1 << 40));
        shared.leave_alone(1 << 40);
        assert!(shared.is_blind());
    }

    #[test]
    fn every_slot_can_be_claimed_and_no_more() {
        let shared = block();
        let mut seen = HashSet::new();
        for hint in 0..SLOTS as u32 {
            let (index, _) = shared.claim(hint.wrapping_mul(77)).expect("one is free");
            assert!(seen.insert(index));
        }
        assert_eq!(shared.claim(5), None);
        assert!(shared.slot(SLOTS as u32).is_none());
    }

    proptest! {
        #[test]
        fn what_was_marked_is_marked(cookies in proptest::collection::hash_set(1..u64::MAX, 0..200), other in 1..u64::MAX) {
            let shared = block();
            for cookie in &cookies {
                shared.leave_alone(*cookie);
                shared.leave_alone(*cookie);
            }
            for cookie in &cookies {
                prop_assert!(shared.is_left_alone(*cookie));
            }
            prop_assert_eq!(shared.is_left_alone(other), cookies.contains(&other));
        }
    }
}
