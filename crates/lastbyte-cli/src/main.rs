//! The command `lastbyte`. Thin: each subcommand parses, calls a library, prints.

mod cli;
mod commands;
mod endpoint;
mod status;
mod terminal;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // The lab runs this program again as the process of row B4.
    if let Some(code) = lastbyte_lab::run_if_asked() {
        return code;
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors; clap knows which is which.
            let code = if error.use_stderr() {
                status::USAGE
            } else {
                status::DONE
            };
            return match error.print() {
                Ok(()) => code.into(),
                Err(_) => status::USAGE.into(),
            };
        }
    };
    commands::run(cli.command).into()
}
