//! `lastbyte completions`: for bash, zsh, fish, elvish and PowerShell.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::status::{DONE, Status};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell to print completions for.
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args) -> Status {
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "lastbyte",
        &mut std::io::stdout(),
    );
    DONE
}
