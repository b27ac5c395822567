//! Exit statuses, in one place and documented in the help text.

/// An exit status of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(u8);

/// Everything went as asked.
pub(crate) const DONE: Status = Status(0);
/// The command did its work and the answer is no: a row not kept, bytes not
/// delivered, something found.
pub(crate) const NOT_SO: Status = Status(1);
/// The command line, or what it names, cannot be used.
pub(crate) const USAGE: Status = Status(2);

impl From<Status> for std::process::ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.0)
    }
}
