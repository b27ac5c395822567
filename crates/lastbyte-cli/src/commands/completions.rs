//! `lastbyte completions`: for bash, zsh, fish, elvish and PowerShell.

use std::io::Write;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::output::{ended, output};
use crate::status::{DONE, Status};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell to print completions for.
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args) -> Status {
    // Into memory first: the generator panics where a write fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lastbyte", &mut script);
    let mut out = output();
    ended(out.write_all(&script).and_then(|()| out.flush()), DONE)
}
