//! What every process of a run writes: which sockets are to be left alone.
//!
//! A process that writes nonsense here can cost the run its coverage (closes become
//! the kernel's own), and no more than that.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The layout's version: shim and undertaker must agree on it.
pub const VERSION: u32 = 2;

const MAGIC: u32 = 0x6c62_736d;
const ALONE: usize = 16_384;
/// Beyond this the set is called full, so that a probe always ends soon.
const ALONE_MOST: u32 = (ALONE / 4 * 3) as u32;

/// The marks of one run. Always behind a shared mapping.
#[derive(Debug)]
#[repr(C)]
pub struct Shared {
    magic: AtomicU32,
    version: AtomicU32,
    blind: AtomicU32,
    alone_used: AtomicU32,
    arrived: AtomicU32,
    alone: [AtomicU64; ALONE],
}

impl Shared {
    /// Fills in a zeroed block.
    pub fn prepare(&self) {
        self.version.store(VERSION, Ordering::Relaxed);
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// Whether this is a block of this version.
    pub fn is_ours(&self) -> bool {
        self.magic.load(Ordering::Acquire) == MAGIC
            && self.version.load(Ordering::Relaxed) == VERSION
    }

    /// Called by each shim that came up.
    pub fn arrive(&self) {
        self.arrived.store(1, Ordering::Relaxed);
    }

    /// Whether any shim came up.
    pub fn has_arrival(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) != 0
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
