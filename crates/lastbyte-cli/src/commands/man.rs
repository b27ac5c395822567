//! `lastbyte man`: one page for the command and one for each subcommand.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::status::{DONE, Status, USAGE};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder, which must exist.
    folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> Status {
    match clap_mangen::generate_to(Cli::command(), &args.folder) {
        Ok(()) => DONE,
        Err(error) => {
            eprintln!(
                "lastbyte: cannot write man pages to {}: {error}",
                args.folder.display()
            );
            USAGE
        }
    }
}
