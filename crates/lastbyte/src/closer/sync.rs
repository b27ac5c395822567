//! What the threads that submit share with the one that closes is built from these.
//! The loom tests include these modules with loom's in their place, to try every
//! interleaving.

pub(super) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
