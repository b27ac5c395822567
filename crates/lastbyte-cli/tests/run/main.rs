//! `lastbyte run`, with real programs on real sockets.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod contract;
mod harness;
mod safety;
mod sharing;
