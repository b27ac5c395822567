//! Exit statuses, in one place and documented in the help text.

/// An exit status of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(u8);

/// Everything went as asked.
pub(crate) const DONE: Status = Status(0);
/// The command did its work and the answer is no: a row not kept, bytes not
/// delivered, something found.
pub(crate) const NOT_SO: Status = Status(1);
/// The command line, or what it names, cannot be used, standard output included.
pub(crate) const USAGE: Status = Status(2);

/// The reader of standard output has gone: the command ends as SIGPIPE ends it.
pub(crate) const NO_READER: Status = Status(128 + 13);

#[cfg(target_os = "linux")]
/// `run`: the program is there and cannot be executed (as env(1) has it).
pub(crate) const NOT_EXECUTABLE: Status = Status(126);
#[cfg(target_os = "linux")]
/// `run`: there is no such program (as env(1) has it).
pub(crate) const NOT_FOUND: Status = Status(127);

impl Status {
    #[cfg(target_os = "linux")]
    /// The status of a program that was run.
    pub(crate) const fn of_program(status: u8) -> Self {
        Self(status)
    }
}

impl From<Status> for std::process::ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.0)
    }
}
