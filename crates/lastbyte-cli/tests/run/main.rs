//! `lastbyte run`, with real programs on real sockets.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod command;
mod contract;
mod harness;
mod programs;
mod safety;
mod server;
mod sharing;
mod sums;
