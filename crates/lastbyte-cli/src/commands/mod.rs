//! One module a subcommand: its arguments, and `run`.

use crate::cli::Command;
use crate::status::Status;

pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod lab;
pub(crate) mod man;
pub(crate) mod recv;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod watch;

pub(crate) fn run(command: Command) -> Status {
    match command {
        Command::Completions(args) => completions::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Recv(args) => recv::run(&args),
        Command::Run(args) => run::run(args),
        Command::Send(args) => send::run(&args),
        Command::Watch(args) => watch::run(&args),
    }
}
