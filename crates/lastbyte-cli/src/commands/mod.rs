//! One module a subcommand: its arguments, and `run`.

pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod lab;
pub(crate) mod man;
pub(crate) mod recv;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod watch;
