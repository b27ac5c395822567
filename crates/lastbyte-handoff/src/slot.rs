//! A place to wait for an answer: one word to sleep on, one to read.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Packed `answer:32 | generation:30 | state:2`, so that an answer and the
/// generation it belongs to change together.
#[derive(Debug)]
#[repr(transparent)]
pub struct Slot(AtomicU64);

/// A claim on a slot, which only its generation's answer can fulfil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u32);

const STATE: u32 = 3;
const FREE: u32 = 0;
const WAITING: u32 = 1;
const ANSWERED: u32 = 2;
const GENERATION: u32 = 4;

impl Slot {
    /// A free slot.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Takes the slot if it is free.
    pub fn claim(&self) -> Option<Ticket> {
        let old = self.0.load(Ordering::Relaxed);
        let word = low(old);
        if word & STATE != FREE {
            return None;
        }
        let claimed = (word & !STATE) | WAITING;
        self.0
            .compare_exchange(old, u64::from(claimed), Ordering::AcqRel, Ordering::Relaxed)
            .ok()
            .map(|_| Ticket(claimed))
    }

    /// Gives the slot back, answered or not.
    pub fn release(&self, ticket: Ticket) {
        let next = (ticket.0 & !STATE).wrapping_add(GENERATION);
        let old = self.0.load(Ordering::Relaxed);
        if low(old) & !STATE == ticket.0 & !STATE {
            // Only the undertaker's answer can come between, and then the second try wins.
            if let Err(now) =
                self.0
                    .compare_exchange(old, u64::from(next), Ordering::AcqRel, Ordering::Relaxed)
            {
                let _ = self.0.compare_exchange(
                    now,
                    u64::from(next),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
            }
        }
    }

    /// Answers the claim. False if nobody waits for it any more.
    pub fn answer(&self, ticket: Ticket, value: i32) -> bool {
        let answered =
            u64::from(value.cast_unsigned()) << 32 | u64::from((ticket.0 & !STATE) | ANSWERED);
        self.0
            .compare_exchange(
                u64::from(ticket.0),
                answered,
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// The answer to `ticket`, if it is there.
    pub fn answered(&self, ticket: Ticket) -> Option<i32> {
        let now = self.0.load(Ordering::Acquire);
        (low(now) == (ticket.0 & !STATE) | ANSWERED).then_some(((now >> 32) as u32).cast_signed())
    }

    /// The word to sleep on (futex(2)); it holds [`Ticket::word`] until answered.
    pub fn futex(&self) -> *const AtomicU32 {
        let half = core::ptr::from_ref(&self.0).cast::<AtomicU32>();
        if cfg!(target_endian = "little") {
            half
        } else {
            half.wrapping_add(1)
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

impl Ticket {
    /// The number to send along.
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// A ticket from the wire; `None` where no claim has such a number.
    #[must_use]
    pub const fn from_word(word: u32) -> Option<Self> {
        if word & STATE == WAITING {
            Some(Self(word))
        } else {
            None
        }
    }
}

const fn low(value: u64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reaches_its_claim_once() {
        let slot = Slot::new();
        let ticket = slot.claim().expect("a new slot is free");
        assert_eq!(slot.claim(), None);
        assert_eq!(slot.answered(ticket), None);
        assert!(slot.answer(ticket, -11));
        assert!(!slot.answer(ticket, 5));
        assert_eq!(slot.answered(ticket), Some(-11));
        slot.release(ticket);
        assert_eq!(slot.answered(ticket), None);
    }

    #[test]
    fn a_late_answer_does_not_reach_the_next_claim() {
        let slot = Slot::new();
        let first = slot.claim().expect("free");
        slot.release(first);
        let second = slot.claim().expect("free again");
        assert_ne!(first, second);
        assert!(!slot.answer(first, 1));
        assert_eq!(slot.answered(second), None);
        slot.release(first);
        assert_eq!(slot.claim(), None, "an old release frees nothing");
    }

    #[test]
    fn the_generation_may_wrap() {
        let slot = Slot(AtomicU64::new(u64::from(!STATE)));
        let last = slot.claim().expect("free");
        slot.release(last);
        let first = slot.claim().expect("free");
        assert_eq!(first.word(), WAITING);
    }

    #[test]
    fn only_a_waiting_word_is_a_ticket() {
        assert_eq!(Ticket::from_word(0), None);
        assert_eq!(Ticket::from_word(2), None);
        assert_eq!(Ticket::from_word(3), None);
        assert!(Ticket::from_word(5).is_some());
    }
}
