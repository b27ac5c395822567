//! `lastbyte run`, with real programs on real sockets.
#![cfg(target_env = "gnu")]

#[macro_use]
extern crate lastbyte_testkit;

mod account;
mod command;
mod contract;
mod detach;
mod handshake;
mod harness;
mod hostile;
mod last_holder;
mod manner;
mod programs;
mod safety;
mod server;
mod sharing;
mod shim_file;
mod sums;
mod view;
mod ways;

fn main() -> std::process::ExitCode {
    lastbyte_testkit::main()
}
