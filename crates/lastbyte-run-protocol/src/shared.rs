//! What every process of a run writes: which sockets are to be left alone, who lets go
//! of one this moment, and how many closes were left to the kernel.
//!
//! A process that writes nonsense here can cost the run its coverage (closes become
//! the kernel's own, or take a twentieth of a second), make the counts wrong, and no
//! more than that.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::left::Left;

/// The layout's version: shim and supervisor must agree on it.
pub const VERSION: u32 = 4;

const MAGIC: u32 = 0x6c62_736d;
const ALONE: usize = 16_384;
/// Beyond this the set is called full, so that a probe always ends soon.
const ALONE_MOST: u32 = (ALONE / 4 * 3) as u32;

/// Closes that ask about holders at the same time, at most.
const TURNS: usize = 256;
/// Places that a socket's turn can be in.
const PROBES: usize = 8;

/// The marks of one run. Always behind a shared mapping.
#[derive(Debug)]
#[repr(C)]
pub struct Shared {
    magic: AtomicU32,
    version: AtomicU32,
    blind: AtomicU32,
    alone_used: AtomicU32,
    arrived: AtomicU32,
    repaired: AtomicU32,
    unannounced: AtomicU64,
    left: [AtomicU64; Left::ALL.len()],
    turns: [AtomicU64; TURNS],
    alone: [AtomicU64; ALONE],
}

impl Shared {
    /// Fills in a zeroed block.
    pub fn prepare(&self) {
        self.version.store(VERSION, Ordering::Relaxed);
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// Returns whether this is a block of this version.
    pub fn is_ours(&self) -> bool {
        self.magic.load(Ordering::Acquire) == MAGIC
            && self.version.load(Ordering::Relaxed) == VERSION
    }

    /// Called by each shim that came up.
    pub fn arrive(&self) {
        self.arrived.store(1, Ordering::Relaxed);
    }

    /// Returns whether any shim came up.
    pub fn has_arrival(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) != 0
    }

    /// A process has put a connection into repair mode (TCP_REPAIR).
    pub fn set_repaired(&self) {
        self.repaired.store(1, Ordering::Relaxed);
    }

    /// Returns whether [`set_repaired`](Self::set_repaired) was called.
    pub fn has_repaired(&self) -> bool {
        self.repaired.load(Ordering::Relaxed) != 0
    }

    /// Counts a connection that the supervisor could not be told of.
    pub fn count_unannounced(&self) {
        self.unannounced.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that the supervisor could not be told of.
    pub fn unannounced(&self) -> u64 {
        self.unannounced.load(Ordering::Relaxed)
    }

    /// Counts a close that was left to the kernel.
    pub fn count(&self, left: Left) {
        if let Some(count) = self.left.get(left.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many closes were left to the kernel for that reason.
    pub fn left(&self, left: Left) -> u64 {
        self.left
            .get(left.index())
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Takes the turn to let go of a socket that others may hold.
    ///
    /// # Errors
    /// True if another has it; false if there is no room for one.
    pub fn take_turn(&self, cookie: u64) -> Result<usize, bool> {
        if self.place_of(cookie).is_some() {
            return Err(true);
        }
        for (index, place) in self.turns_of(cookie) {
            if place
                .compare_exchange(0, cookie, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                // Another may have found a place before ours at the same time.
                return match self.turns_of(cookie).find(|(_, place)| is(place, cookie)) {
                    Some((first, _)) if first != index => {
                        self.end_turn(index, cookie);
                        Err(true)
                    }
                    _ => Ok(index),
                };
            }
        }
        Err(false)
    }

    /// Returns where the turn of that socket is.
    pub fn place_of(&self, cookie: u64) -> Option<usize> {
        self.turns_of(cookie)
            .find(|(_, place)| is(place, cookie))
            .map(|(index, _)| index)
    }

    /// Gives the turn back.
    pub fn end_turn(&self, index: usize, cookie: u64) {
        if let Some(place) = self.turns.get(index) {
            let _ = place.compare_exchange(cookie, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    fn turns_of(&self, cookie: u64) -> impl Iterator<Item = (usize, &AtomicU64)> {
        let start = hash(cookie) % TURNS;
        (start..start + PROBES).filter_map(|index| {
            let index = index % TURNS;
            self.turns.get(index).map(|place| (index, place))
        })
    }

    /// From now on nobody can tell which process holds which socket.
    pub fn set_blind(&self) {
        self.blind.store(1, Ordering::Relaxed);
    }

    /// Returns whether [`set_blind`](Self::set_blind) was called.
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

    /// Returns whether the socket was marked.
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
        let start = hash(cookie) % ALONE;
        let (before, after) = self.alone.split_at(start);
        after.iter().chain(before)
    }
}

fn hash(cookie: u64) -> usize {
    (cookie.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

fn is(place: &AtomicU64, cookie: u64) -> bool {
    place.load(Ordering::Acquire) == cookie
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;

    fn block() -> Box<Shared> {
        // SAFETY: `Shared` is all integer atomics, for which zero is a value.
        unsafe { Box::<Shared>::new_zeroed().assume_init() }
    }

    #[test]
    fn a_turn_is_one_at_a_time_for_each_socket() {
        let shared = block();
        let first = shared.take_turn(7).expect("nobody has it");
        assert_eq!(shared.take_turn(7), Err(true));
        let other = shared.take_turn(8).expect("another socket");
        assert_ne!(first, other);
        shared.end_turn(first, 8);
        assert_eq!(shared.take_turn(7), Err(true), "not that socket's place");
        shared.end_turn(first, 7);
        assert!(shared.take_turn(7).is_ok());
    }

    #[test]
    fn turns_that_nobody_gives_back_leave_others_without_one() {
        let shared = block();
        let taken = (1..100_000).filter(|cookie| shared.take_turn(*cookie).is_ok());
        assert_eq!(taken.count(), TURNS);
        assert_eq!(shared.take_turn(200_000), Err(false));
    }

    #[test]
    fn threads_take_turns() {
        let shared = block();
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        if let Ok(place) = shared.take_turn(42) {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            shared.end_turn(place, 42);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn closes_left_to_the_kernel_are_counted_by_reason() {
        let shared = block();
        shared.count(Left::Mptcp);
        shared.count(Left::Mptcp);
        shared.count(Left::Sending);
        let counts = Left::ALL.map(|left| shared.left(left));
        assert_eq!(counts.iter().sum::<u64>(), 3);
        assert_eq!(shared.left(Left::Mptcp), 2);
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
