//! One module a subcommand: its arguments, and `run`.

use crate::cli::Command;
use crate::status::Status;

pub(crate) mod completions;
pub(crate) mod man;
#[cfg(target_os = "linux")]
pub(crate) mod run;

pub(crate) fn run(command: Command) -> Status {
    match command {
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        #[cfg(target_os = "linux")]
        Command::Run(args) => run::run(args),
    }
}
