//! A value that is published once for the whole process, and read without a lock.
//!
//! A lock that another thread holds while this one forks stays locked in the child
//! for ever; a pointer does not.

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Holds a value that is never freed, or none yet.
pub(crate) struct Leaked<T: 'static>(AtomicPtr<T>);

impl<T: Send + Sync> Leaked<T> {
    pub(crate) const fn none() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or a leaked box that nobody frees or borrows mutably.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Publishes `new` in place of what the caller saw there, which is not freed.
    /// Gives `new` back where another thread was quicker.
    pub(crate) fn replace(
        &self,
        seen: Option<&'static T>,
        new: Box<T>,
    ) -> Result<&'static T, Box<T>> {
        let seen = seen.map_or(ptr::null_mut(), |seen| ptr::from_ref(seen).cast_mut());
        let new = Box::into_raw(new);
        match self
            .0
            .compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire)
        {
            // SAFETY: just leaked, and published for good.
            Ok(_) => Ok(unsafe { &*new }),
            // SAFETY: just leaked here, and published to nobody.
            Err(_) => Err(unsafe { Box::from_raw(new) }),
        }
    }
}

impl<T> fmt::Debug for Leaked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaked").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_is_replaced() {
        let place = Leaked::none();
        assert!(place.get().is_none());
        let first = place
            .replace(None, Box::new(1))
            .expect("nobody else is here");
        assert_eq!(place.get(), Some(first));
        assert_eq!(place.replace(None, Box::new(2)), Err(Box::new(2)));
        assert_eq!(place.replace(Some(first), Box::new(3)), Ok(&3));
        assert_eq!(place.get(), Some(&3));
    }
}
