//! The command `lastbyte`. Thin: each subcommand parses, calls a library, prints.

mod cli;
mod commands;
mod status;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
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
