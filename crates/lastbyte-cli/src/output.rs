//! Standard output, where a write that fails ends the command with a status that says so,
//! and notes on standard error, where it does not.

use std::io::{self, ErrorKind, StdoutLock, Write};

use crate::status::{NO_READER, Status, USAGE};

/// Standard output, whose errors name it. What is written is out after a flush.
pub(crate) struct Output(StdoutLock<'static>);

pub(crate) fn output() -> Output {
    Output(io::stdout().lock())
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
}

/// An error of standard output, with its name.
pub(crate) fn named(error: io::Error) -> io::Error {
    // It keeps its kind: an interrupted write is tried again.
    io::Error::new(
        error.kind(),
        format!("cannot write to standard output: {error}"),
    )
}

/// Prints a line: `status`, or the status of a failed write.
pub(crate) fn say(text: &str, status: Status) -> Status {
    let mut out = output();
    ended(writeln!(out, "{text}").and_then(|()| out.flush()), status)
}

/// `status`, or the status of what failed.
pub(crate) fn ended(result: io::Result<()>, status: Status) -> Status {
    match result {
        Ok(()) => status,
        Err(error) => failed(&error),
    }
}

/// The status of an error. A reader of standard output that has gone has read enough,
/// so that only the status says it; anything else is printed.
pub(crate) fn failed(error: &io::Error) -> Status {
    if error.kind() == ErrorKind::BrokenPipe {
        return NO_READER;
    }
    note!("{error}");
    USAGE
}

/// Prints a note to standard error, as `lastbyte: …` and a line's end. Its arguments are
/// those of `format!`.
macro_rules! note {
    ($($part:tt)*) => { $crate::output::print_note(format_args!($($part)*)) };
}
pub(crate) use note;

/// What [`note!`] does. Where standard error is closed or full, the note is lost and the
/// command goes on; `eprintln!` would panic.
pub(crate) fn print_note(note: std::fmt::Arguments<'_>) {
    // In one piece: other processes may write there as well.
    let _ = io::stderr().write_all(format!("lastbyte: {note}\n").as_bytes());
}
