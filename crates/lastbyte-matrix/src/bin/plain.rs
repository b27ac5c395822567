//! The actor without lastbyte: what closes is the kernel, or the shim in it.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastbyte_matrix::actor::act(|cell, _| eprintln!("{cell}: this program has no library"))
}
