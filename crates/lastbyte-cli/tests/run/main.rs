//! `lastbyte run`, with real programs on real sockets.

#[cfg(target_env = "gnu")]
#[macro_use]
extern crate lastbyte_testkit;

#[cfg(target_env = "gnu")]
mod account;
#[cfg(target_env = "gnu")]
mod command;
#[cfg(target_env = "gnu")]
mod contract;
#[cfg(target_env = "gnu")]
mod detach;
#[cfg(target_env = "gnu")]
mod handshake;
#[cfg(target_env = "gnu")]
mod harness;
#[cfg(target_env = "gnu")]
mod hostile;
#[cfg(target_env = "gnu")]
mod last_holder;
#[cfg(target_env = "gnu")]
mod manner;
#[cfg(target_env = "gnu")]
mod programs;
#[cfg(target_env = "gnu")]
mod safety;
#[cfg(target_env = "gnu")]
mod server;
#[cfg(target_env = "gnu")]
mod sharing;
#[cfg(target_env = "gnu")]
mod shim_file;
#[cfg(target_env = "gnu")]
mod sums;
#[cfg(target_env = "gnu")]
mod view;
#[cfg(target_env = "gnu")]
mod ways;

#[cfg(target_env = "gnu")]
fn main() -> std::process::ExitCode {
    lastbyte_testkit::main()
}

/// The shim enters programs of glibc alone.
#[cfg(not(target_env = "gnu"))]
fn main() {}
