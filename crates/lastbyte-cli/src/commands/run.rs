//! `lastbyte run`: a program nobody will change.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lastbyte::Linger;
use lastbyte_run_supervisor::{Error, Keep, Options, Override, Part, messages};

use crate::argument;
use crate::status::{NOT_EXECUTABLE, NOT_FOUND, Status, USAGE};

#[derive(Debug, clap::Args)]
#[command(
    long_about = "Runs a program, unchanged, whose TCP closes follow the contract: what was sent \
        arrives although input is unread or the program exits, and a close that waits says what \
        became of the bytes. Without --linger each socket's own SO_LINGER decides.",
    after_long_help = "Exit status: the program's own; 128 and the signal's number if one killed \
        it; 127 if there is no such program, 126 if it cannot be executed, 2 if lastbyte itself \
        cannot run it."
)]
pub(crate) struct Args {
    /// What every close does: off, abort, or a time to wait such as 5s or 500ms.
    #[arg(long, value_name = "HOW", value_parser = linger)]
    linger: Option<Override>,
    /// Write one JSON line for each ending (- for standard output).
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Print the sums to standard error at the end.
    #[arg(long)]
    summary: bool,
    /// Run a program that the shim cannot enter all the same, with the kernel's own close.
    #[arg(long)]
    anyway: bool,
    /// Stay until every process that the program started is gone, daemons included.
    #[arg(long)]
    follow: bool,
    /// How long to stay, once the program is gone, for closes that have no deadline.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = argument::time)]
    patience: Duration,
    /// Return when the program has exited; its closes are finished in the background.
    #[arg(long, conflicts_with = "follow")]
    detach_endings: bool,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM",
          value_hint = clap::ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: Args) -> Status {
    let shim = match lastbyte_run_supervisor::find_shim(lastbyte_shim_embed::shim!()) {
        Ok(shim) => shim,
        Err(text) => {
            messages::print(text);
            messages::finish();
            return USAGE;
        }
    };
    let log = match args.log.as_deref().map(open_log).transpose() {
        Ok(log) => log,
        Err(text) => {
            messages::print(text);
            messages::finish();
            return USAGE;
        }
    };
    let behind = match args.detach_endings.then(|| detach(&args)).transpose() {
        Ok(Some(Part::Front(status))) => return Status::of_program(status),
        Ok(Some(Part::Behind(behind))) => Some(behind),
        Ok(None) => None,
        Err(error) => {
            messages::print(format_args!(
                "cannot stay behind in the background: {error}"
            ));
            messages::finish();
            return USAGE;
        }
    };
    let mut command = args.command.into_iter();
    let outcome = lastbyte_run_supervisor::run(Options {
        // clap requires at least one.
        program: command.next().unwrap_or_default(),
        arguments: command.collect(),
        shim,
        linger: args.linger.unwrap_or(Override::None),
        log,
        summary: args.summary,
        anyway: args.anyway,
        follow: args.follow,
        patience: args.patience,
        behind,
    });
    let status = match outcome {
        Ok(outcome) => {
            if args.summary {
                messages::print(&outcome);
            }
            if let Some(error) = outcome.log_error {
                messages::print(format_args!("the log is incomplete: {error}"));
            }
            Status::of_program(outcome.status)
        }
        Err(error) => {
            let status = match error {
                Error::NotFound(_) => NOT_FOUND,
                Error::NotExecutable(..) => NOT_EXECUTABLE,
                _ => USAGE,
            };
            messages::print(error);
            status
        }
    };
    // Whatever becomes of the text, the status is the program's.
    messages::finish();
    status
}

fn detach(args: &Args) -> io::Result<Part> {
    let keep = Keep {
        output: args.log.as_deref() == Some(Path::new("-")),
        errors: args.summary,
    };
    // SAFETY: nothing before this starts a thread but a message, after which we end.
    unsafe { lastbyte_run_supervisor::detach(keep) }
}

fn open_log(path: &Path) -> Result<Box<dyn Write + Send>, String> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map(|file| Box::new(file) as Box<dyn Write + Send>)
        .map_err(|error| format!("cannot write the log {}: {error}", path.display()))
}

/// A way to linger that a run can ask of its program's closes.
fn linger(text: &str) -> Result<Override, String> {
    match argument::linger(text)? {
        Linger::Off => Ok(Override::Off),
        Linger::Abort => Ok(Override::Abort),
        Linger::Wait(time) if time.subsec_nanos() % 1_000_000 != 0 => {
            Err("waits are kept to the millisecond; give whole milliseconds".into())
        }
        Linger::Wait(time) => u64::try_from(time.as_millis())
            .map(Override::Wait)
            .map_err(|_| "longer than can be waited for".into()),
        other => Err(format!("{other} cannot be asked of a program's closes")),
    }
}
