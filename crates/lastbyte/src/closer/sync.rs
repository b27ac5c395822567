//! What the threads that submit share with the one that closes is built from
//! these: the standard library's, or, to try every interleaving, loom's.

#[cfg(not(lastbyte_loom))]
pub(super) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

#[cfg(lastbyte_loom)]
pub(super) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
