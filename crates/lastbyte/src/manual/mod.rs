//! Holds the long-form documentation, versioned and tested with the code.
//!
//! - [`contract`]: what a close promises, in rows with ids.
//! - [`kernels`]: what plain close(2) does instead, system by system.
//! - [`endings`]: how a fate is learned without polling, and why the counts are
//!   exact.
//! - [`layers`]: what lies above the socket: BufWriter, TLS, message layers.
//! - [`runtimes`]: how to get the descriptor out of each runtime's stream.
//! - [`processes`]: exits, forks, duplicated descriptors, threads, signals.

pub mod contract;
pub mod endings;
pub mod kernels;
pub mod layers;
pub mod processes;
pub mod runtimes;
