//! The one definition that help texts, man pages and completions come from.

use clap::{Parser, Subcommand};

use crate::commands;

/// Closes TCP connections and tells what became of the last byte.
#[derive(Debug, Parser)]
#[command(name = "lastbyte", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print shell completions.
    Completions(commands::completions::Args),
    /// Look for a while and say what is wrong with how connections end here.
    #[cfg(target_os = "linux")]
    Doctor(commands::doctor::Args),
    /// Say what an errno, state, counter or reset reason means for a connection's end.
    #[cfg(target_os = "linux")]
    Explain(commands::explain::Args),
    Lab(commands::lab::Args),
    /// Write the man pages into a folder.
    Man(commands::man::Args),
    Recv(commands::recv::Args),
    /// Run a program whose TCP closes then follow the contract.
    Run(commands::run::Args),
    Send(commands::send::Args),
    /// Tell how every TCP connection of this host ends.
    #[cfg(target_os = "linux")]
    Watch(commands::watch::Args),
}
