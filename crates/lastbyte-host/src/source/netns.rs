//! Other network namespaces.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::{check, doing};

/// Moves the calling thread into a network namespace, given as a name of
/// `ip netns`, a path, or `pid:812` for that process's. Threads and sockets made
/// later are there too. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
///
/// There is no such namespace, or it may not be entered.
pub fn enter(which: &str) -> io::Result<()> {
    let path = path(which);
    let told = doing(format!("cannot enter the network namespace {which}"));
    let file = File::open(&path).map_err(doing(format!(
        "cannot open the network namespace {}",
        path.display()
    )))?;
    // SAFETY: the descriptor is open; the kernel checks that it is a namespace.
    check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }).map_err(told)?;
    Ok(())
}

fn path(which: &str) -> PathBuf {
    match which.strip_prefix("pid:") {
        Some(pid) => Path::new("/proc").join(pid).join("ns/net"),
        None if which.contains('/') => PathBuf::from(which),
        None => Path::new("/run/netns").join(which),
    }
}
