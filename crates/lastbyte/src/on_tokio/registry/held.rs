//! Connections that are over but for late input: each keeps a descriptor, and those are
//! limited.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::slot::Slot;
use crate::sys;

/// The connections of a listener that are held for late input.
#[derive(Default)]
pub(super) struct Held {
    next: u64,
    /// Where each is, by its number in the registry.
    places: HashMap<u64, Place>,
    /// In the order in which they came. Nothing suggests that these will send more.
    quiet: BTreeMap<u64, Arc<Slot>>,
    /// These have been sending.
    sending: BTreeMap<u64, Arc<Slot>>,
    /// Given up, and their descriptors not closed yet.
    leaving: usize,
}

#[derive(Clone, Copy)]
struct Place {
    order: u64,
    quiet: bool,
    leaving: bool,
}

/// What becomes of a connection that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::on_tokio) enum Hold {
    Kept,
    /// Its descriptor is needed: it is to be closed now.
    GivenUp,
}

impl Held {
    /// Notes that a connection is held. Beyond the limit another is given up for it,
    /// or it itself; that one is returned.
    pub(super) fn hold(&mut self, slot: &Arc<Slot>, quiet: bool) -> (Hold, Option<Arc<Slot>>) {
        match self.places.get_mut(&slot.id) {
            Some(place) if place.leaving => return (Hold::GivenUp, None),
            Some(place) if place.quiet == quiet => return (Hold::Kept, None),
            Some(place) => {
                place.quiet = quiet;
                let order = place.order;
                let (from, to) = if quiet {
                    (&mut self.sending, &mut self.quiet)
                } else {
                    (&mut self.quiet, &mut self.sending)
                };
                from.remove(&order);
                to.insert(order, Arc::clone(slot));
                return (Hold::Kept, None);
            }
            None => {}
        }
        let order = self.next;
        self.next += 1;
        let place = Place {
            order,
            quiet,
            leaving: false,
        };
        self.places.insert(slot.id, place);
        let line = if quiet {
            &mut self.quiet
        } else {
            &mut self.sending
        };
        line.insert(order, Arc::clone(slot));
        if self.len() <= limit() {
            return (Hold::Kept, None);
        }
        match self.give_up_one() {
            Some(given_up) if Arc::ptr_eq(&given_up, slot) => (Hold::GivenUp, None),
            given_up => (Hold::Kept, given_up),
        }
    }

    /// Gives up a part of them, for want of descriptors.
    pub(super) fn make_room(&mut self) -> Vec<Arc<Slot>> {
        let part = self.len().div_ceil(4);
        (0..part).filter_map(|_| self.give_up_one()).collect()
    }

    /// Returns whether some are on their way out.
    pub(super) fn are_leaving(&self) -> bool {
        self.leaving > 0
    }

    pub(super) fn remove(&mut self, id: u64) {
        let Some(place) = self.places.remove(&id) else {
            return;
        };
        if place.leaving {
            self.leaving -= 1;
        }
        self.quiet.remove(&place.order);
        self.sending.remove(&place.order);
    }

    fn len(&self) -> usize {
        self.quiet.len() + self.sending.len()
    }

    /// The oldest of the quiet, then the oldest of the others.
    fn give_up_one(&mut self) -> Option<Arc<Slot>> {
        let (_, slot) = self
            .quiet
            .pop_first()
            .or_else(|| self.sending.pop_first())?;
        if let Some(place) = self.places.get_mut(&slot.id) {
            place.leaving = true;
            self.leaving += 1;
        }
        Some(slot)
    }
}

/// Returns how many may be held: half of what the process may have open.
fn limit() -> usize {
    sys::descriptor_limit().map_or(usize::MAX, |limit| limit / 2)
}
