//! The count of input that a closer discarded, late input included, once it is known.

use std::fmt;

use crate::contain::contain;

/// Who wants the count of one connection; called once, with `None` where it is not known.
pub(crate) struct InputCount(Option<Box<dyn FnOnce(Option<u64>) + Send>>);

impl InputCount {
    /// Nobody does.
    pub(crate) const UNWANTED: Self = Self(None);

    pub(super) fn new(then: impl FnOnce(Option<u64>) + Send + 'static) -> Self {
        Self(Some(Box::new(then)))
    }

    /// The descriptor is closed; so many bytes of input arrived and were discarded.
    pub(super) fn settle(mut self, bytes: Option<u64>) {
        self.call(bytes);
    }

    fn call(&mut self, bytes: Option<u64>) {
        if let Some(then) = self.0.take() {
            contain(|| then(bytes));
        }
    }
}

impl Drop for InputCount {
    fn drop(&mut self) {
        self.call(None);
    }
}

impl fmt::Debug for InputCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "InputCount(wanted)",
            None => "InputCount(unwanted)",
        })
    }
}
