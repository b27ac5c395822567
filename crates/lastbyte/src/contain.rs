//! Calls the program's code so that a panic in it does not end a thread of this library.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `code`. A panic in it ends there: the panic hook has printed it already, and
/// other connections' ends must not suffer from it. The panic's payload is other
/// people's too, and may panic when it is dropped.
pub(crate) fn contain(code: impl FnOnce()) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(code)) else {
        return;
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bad;

    impl Drop for Bad {
        fn drop(&mut self) {
            std::panic::panic_any(Bad);
        }
    }

    #[test]
    fn a_payload_that_panics_when_dropped_goes_no_further() {
        contain(|| std::panic::panic_any(Bad));
    }
}
