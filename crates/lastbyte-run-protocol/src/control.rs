//! What the supervisor alone writes: settings, whether it can take more, answers.
//!
//! Programs map this block for reading only; a seal (`F_SEAL_FUTURE_WRITE`) sees to
//! that. So a process that dropped its privileges can neither answer a close of one
//! that kept them, nor take an answer away. Atomics in memory that is read-only are
//! read with relaxed loads, and fences order them (std's documentation of atomics).

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::VERSION;

const MAGIC: u32 = 0x6c62_6374;
const BUCKETS: usize = 1 << VALUE_BITS;
/// Answers that a bucket keeps before the oldest gives way.
const PLACES: usize = 15;
/// Users that can be full at the same time, and told so.
const USERS: usize = 62;
/// Values are errno numbers, the greatest of which is 4095 (MAX_ERRNO).
const VALUE_BITS: u32 = 12;
const VALUE: u64 = (1 << VALUE_BITS) - 1;

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

/// A random number that names one answer: who waits makes it and sends it along.
/// Its low bits choose the bucket, the others tell the answer from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(u64);

impl Nonce {
    /// From random bytes; `None` for the few that cannot be told from no answer.
    #[must_use]
    pub const fn new(bytes: [u8; 8]) -> Option<Self> {
        Self::from_wire(u64::from_ne_bytes(bytes))
    }

    /// From a request. `None` where no answer is awaited.
    #[must_use]
    pub const fn from_wire(number: u64) -> Option<Self> {
        if number & !VALUE == 0 {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The number to send along.
    #[must_use]
    pub const fn wire(self) -> u64 {
        self.0
    }
}

/// The block. Always behind a shared mapping.
#[derive(Debug)]
#[repr(C)]
pub struct Control {
    magic: AtomicU32,
    version: AtomicU32,
    linger_kind: AtomicU32,
    observed: AtomicU32,
    linger_ms: AtomicU64,
    full: AtomicU32,
    full_users: AtomicU32,
    users: [AtomicU32; USERS],
    buckets: [Bucket; BUCKETS],
}

#[derive(Debug)]
#[repr(C)]
struct Bucket {
    /// Slept on (futex(2)); counts the answers.
    bell: AtomicU32,
    next: AtomicU32,
    /// The nonce, with the value in place of its low bits.
    places: [AtomicU64; PLACES],
}

/// Where an answer will come.
#[derive(Clone, Copy, Debug)]
pub struct Bell<'a> {
    bucket: &'a Bucket,
    nonce: Nonce,
    /// What the bell showed before the look.
    pub seen: u32,
}

impl Bell<'_> {
    /// The answer, if it was there after `seen` was read.
    #[must_use]
    pub fn answer(&self) -> Option<i32> {
        self.bucket.places.iter().find_map(|place| {
            let found = place.load(Ordering::Relaxed);
            (found & !VALUE == self.nonce.0 & !VALUE).then_some((found & VALUE) as i32)
        })
    }

    /// The word to sleep on while it holds `seen`.
    #[must_use]
    pub const fn futex(&self) -> *const AtomicU32 {
        &raw const self.bucket.bell
    }
}

impl Control {
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

    /// Returns whether this is a block of this version.
    pub fn is_ours(&self) -> bool {
        let is_prepared = self.magic.load(Ordering::Relaxed) == MAGIC;
        fence(Ordering::Acquire);
        is_prepared && self.version.load(Ordering::Relaxed) == VERSION
    }

    /// How the run was started.
    #[inline]
    pub fn settings(&self) -> Settings {
        Settings {
            linger: match self.linger_kind.load(Ordering::Relaxed) {
                1 => Override::Off,
                2 => Override::Abort,
                3 => Override::Wait(self.linger_ms.load(Ordering::Relaxed)),
                _ => Override::None,
            },
            observed: self.is_observed(),
        }
    }

    /// Returns [`Settings::observed`].
    #[must_use]
    #[inline]
    pub fn is_observed(&self) -> bool {
        self.observed.load(Ordering::Relaxed) != 0
    }

    /// Says whether no more sockets can be taken for now, whoever sends them.
    pub fn set_full(&self, full: bool) {
        self.full.store(u32::from(full), Ordering::Relaxed);
    }

    /// Says whether a user's share is used up for now. One more user than there is
    /// room for is not told.
    pub fn set_full_for(&self, user: u32, full: bool) {
        // Zero is a free place, so numbers are one higher.
        let (old, new) = if full {
            (0, user.wrapping_add(1))
        } else {
            (user.wrapping_add(1), 0)
        };
        if let Some(place) = self
            .users
            .iter()
            .find(|place| place.load(Ordering::Relaxed) == old)
        {
            place.store(new, Ordering::Relaxed);
        }
        let count = self
            .users
            .iter()
            .filter(|place| place.load(Ordering::Relaxed) != 0)
            .count();
        self.full_users.store(count as u32, Ordering::Relaxed);
    }

    /// Returns whether no more sockets can be taken from `user` for now.
    pub fn is_full(&self, user: impl FnOnce() -> u32) -> bool {
        if self.full.load(Ordering::Relaxed) != 0 {
            return true;
        }
        if self.full_users.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let wanted = user().wrapping_add(1);
        self.users
            .iter()
            .any(|place| place.load(Ordering::Relaxed) == wanted)
    }

    /// Returns where the answer to `nonce` comes.
    pub fn bell(&self, nonce: Nonce) -> Option<Bell<'_>> {
        let bucket = self.buckets.get((nonce.0 & VALUE) as usize)?;
        let seen = bucket.bell.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        Some(Bell {
            bucket,
            nonce,
            seen,
        })
    }

    /// Answers `nonce`; the word returned is to be woken.
    pub fn answer(&self, nonce: Nonce, value: i32) -> Option<*const AtomicU32> {
        let bucket = self.buckets.get((nonce.0 & VALUE) as usize)?;
        let index = bucket.next.fetch_add(1, Ordering::Relaxed) as usize % PLACES;
        let place = bucket.places.get(index)?;
        let value = u64::from(value.cast_unsigned()).min(VALUE);
        place.store(nonce.0 & !VALUE | value, Ordering::Release);
        bucket.bell.fetch_add(1, Ordering::Release);
        Some(&raw const bucket.bell)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::boxed::Box;
    use std::vec::Vec;

    fn block() -> Box<Control> {
        // SAFETY: `Control` is all integer atomics, for which zero is a value.
        unsafe { Box::<Control>::new_zeroed().assume_init() }
    }

    fn nonce(number: u64) -> Nonce {
        Nonce::from_wire(number).expect("a nonce")
    }

    fn answered(control: &Control, nonce: Nonce) -> Option<i32> {
        control.bell(nonce).and_then(|bell| bell.answer())
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
                let control = block();
                assert!(!control.is_ours());
                control.prepare(Settings { linger, observed });
                assert!(control.is_ours());
                assert_eq!(control.settings(), Settings { linger, observed });
            }
        }
    }

    #[test]
    fn an_answer_reaches_its_nonce_alone() {
        let control = block();
        let mine = nonce(0xdead_beef_0000_0123);
        let same_bucket = nonce(0xdead_beef_0001_0123);
        assert_eq!(answered(&control, mine), None);
        let bell = control.bell(mine).expect("a bucket");
        let word = control.answer(same_bucket, 11).expect("a bucket");
        assert_eq!(word, bell.futex());
        assert_eq!(answered(&control, mine), None);
        control.answer(mine, 104);
        assert_eq!(answered(&control, mine), Some(104));
        assert_eq!(answered(&control, same_bucket), Some(11));
        assert_ne!(control.bell(mine).map(|b| b.seen), Some(bell.seen));
    }

    #[test]
    fn an_answer_stays_until_its_bucket_has_had_as_many_more() {
        let control = block();
        let all: Vec<Nonce> = (1..=PLACES as u64 + 1)
            .map(|n| nonce(n << 20 | 7))
            .collect();
        for (index, one) in all.iter().enumerate() {
            control.answer(*one, index as i32);
        }
        assert_eq!(answered(&control, all[0]), None);
        assert_eq!(answered(&control, all[1]), Some(1));
        assert_eq!(answered(&control, all[PLACES]), Some(PLACES as i32));
    }

    #[test]
    fn what_is_no_errno_does_not_reach_another_nonce() {
        let control = block();
        control.answer(nonce(0x5000), -1);
        assert_eq!(answered(&control, nonce(0x5000)), Some(4095));
    }

    #[test]
    fn users_are_full_one_by_one() {
        let control = block();
        assert!(!control.is_full(|| 33));
        control.set_full_for(33, true);
        assert!(control.is_full(|| 33));
        assert!(!control.is_full(|| 0));
        control.set_full_for(0, true);
        assert!(control.is_full(|| 0));
        control.set_full_for(33, false);
        assert!(!control.is_full(|| 33));
        control.set_full(true);
        assert!(control.is_full(|| 77));
    }

    #[test]
    fn no_nonce_is_one_that_reads_as_no_answer() {
        assert_eq!(Nonce::from_wire(0), None);
        assert_eq!(Nonce::from_wire(VALUE), None);
        assert_eq!(nonce(VALUE + 1).wire(), VALUE + 1);
    }
}
