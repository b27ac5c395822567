//! One module a subcommand: its arguments, and `run`.

pub(crate) mod completions;
#[cfg(target_os = "linux")]
pub(crate) mod doctor;
#[cfg(target_os = "linux")]
pub(crate) mod explain;
#[cfg(target_os = "linux")]
pub(crate) mod lab;
#[cfg(target_os = "linux")]
pub(crate) mod man;
pub(crate) mod recv;
#[cfg(target_os = "linux")]
pub(crate) mod run;
pub(crate) mod send;
#[cfg(target_os = "linux")]
pub(crate) mod watch;
