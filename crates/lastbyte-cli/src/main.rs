//! The command `lastbyte`. Thin: each subcommand parses, calls a library, prints.

mod argument;
mod cli;
mod commands;
mod complete;
mod endpoint;
mod output;
mod status;
mod terminal;
mod transfer;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
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
        use nix::sys::signal::{SigHandler, Signal, raise, signal};
        // SAFETY: the default disposition has no handler that could be unsound.
        let restored = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
        // Where that fails, the status remains, and shells show it for the signal.
        let _ = restored.and_then(|_| raise(Signal::SIGPIPE));
    }
    status.into()
}
