//! The command `lastbyte`. Thin: each subcommand parses, calls a library, prints.

mod argument;
mod cli;
mod commands;
#[cfg(target_os = "linux")]
mod complete;
mod endpoint;
mod output;
mod platform;
mod status;
#[cfg(target_os = "linux")]
mod terminal;
mod transfer;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    // The lab runs this program again as the process of row B4.
    if let Some(code) = lastbyte_lab::run_if_asked() {
        return code;
    }
    let cli = match cli::Cli::from_arguments() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors; clap knows which is which.
            let code = if error.use_stderr() {
                status::USAGE
            } else {
                status::DONE
            };
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            return end(output::ended(printed.map_err(output::named), code));
        }
    };
    end(cli.command.run())
}

/// A reader of standard output that has gone ends the command as it does any other:
/// by SIGPIPE, which Rust's runtime keeps from it, and only once all is cleaned up.
fn end(status: status::Status) -> ExitCode {
    if status == status::NO_READER {
        platform::end_for_want_of_a_reader();
    }
    status.into()
}
