//! One module a subcommand: its arguments, and `run`.

use crate::cli::Command;
use crate::status::Status;

pub(crate) mod completions;
#[cfg(target_os = "linux")]
pub(crate) mod doctor;
#[cfg(target_os = "linux")]
pub(crate) mod explain;
pub(crate) mod lab;
pub(crate) mod man;
pub(crate) mod recv;
#[cfg(target_os = "linux")]
pub(crate) mod run;
pub(crate) mod send;
#[cfg(target_os = "linux")]
pub(crate) mod watch;

pub(crate) fn run(command: Command) -> Status {
    match command {
        Command::Completions(args) => completions::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Recv(args) => recv::run(&args),
        #[cfg(target_os = "linux")]
        Command::Run(args) => run::run(args),
        Command::Send(args) => send::run(&args),
        #[cfg(target_os = "linux")]
        Command::Doctor(args) => doctor::run(&args),
        #[cfg(target_os = "linux")]
        Command::Explain(args) => explain::run(&args),
        #[cfg(target_os = "linux")]
        Command::Watch(args) => watch::run(&args),
    }
}
