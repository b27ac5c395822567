//! The shim that `lastbyte run` loads into a program: its TCP closes follow the
//! contract, and everything else is as it was.
//!
//! A close that the kernel does well is left to the kernel. The others are
//! handed to the supervisor, the run's parent process, which ends the connection
//! while the program goes on (or waits, where its option says so).
//!
//! House rules. Everything here may run in a signal handler, in a vforked child
//! that shares its parent's memory, or in a thread being cancelled. So: no
//! allocation, no lock, no thread-local of our own, no panic; atomics and raw
//! system calls only (`sys`); `errno` is touched by nobody but a hook that
//! fails. Where it cannot be excluded that somebody else holds the connection
//! too, the program gets exactly what plain close does.
//!
//! The way of a closed descriptor, from above to below: `hooks` (the functions that
//! programs call) → `closing` (which way to close) → `facts` and `decide` (a pure
//! function) → `holders` (who else has it) → `handover` (to the supervisor) → `run` and
//! `sys`. `load` begins and ends it all; `fd_table`, `epoch` and `io_uring` take note of
//! what the program does with its descriptors.

// Elsewhere the crate is empty and `lastbyte run` says that it is unsupported.
#![cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

mod closing;
mod coverage;
mod decide;
mod descriptors;
mod epoch;
mod facts;
mod fd_table;
mod handover;
mod holders;
mod hooks;
mod io_uring;
mod load;
mod notes;
mod real_libc;
mod run;
mod senders;
mod sys;
mod text;
mod trim;

/// Which version this is, for a supervisor that looks into the file before it has a
/// program load it.
#[used]
static VERSION: &str = lastbyte_run_protocol::MARKED;
