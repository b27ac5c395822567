//! A network namespace, as an ending names it.

use std::fmt;

/// A network namespace by its inode and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    /// Its inode, by which namespaces are told apart.
    pub inode: u64,
    /// Its name, if it has one (`ip netns`).
    pub name: Option<String>,
    /// Whether the watch was started in it.
    pub own: bool,
}

impl fmt::Display for Netns {
    /// As `/proc/PID/ns/net` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}
