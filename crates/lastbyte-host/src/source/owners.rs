//! Which process holds a socket: the links `/proc/PID/fd/N` → `socket:[inode]`.
//! An ordinary user sees those of their own processes.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, readlinkat_raw};

use crate::process::{Comm, Process, proc_is_ours};

/// Holders by inode.
pub(crate) type Owners = HashMap<u32, (Process, u32)>;

/// Reads the descriptors of every process that may be looked into; none where `/proc` is
/// of another pid namespace. A socket that several processes hold is given to the oldest.
///
/// # Errors
///
/// `/proc` cannot be listed.
pub(crate) fn read() -> io::Result<Owners> {
    let mut owners = Owners::new();
    if !proc_is_ours() {
        return Ok(owners);
    }
    let mut pids: Vec<u32> = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    for pid in pids {
        // Gone meanwhile, or another user's.
        let Ok(folder) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        let mut comm = None;
        for entry in folder.flatten() {
            let Some(inode) = socket_inode(&entry.path()) else {
                continue;
            };
            let fd = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let comm = *comm.get_or_insert_with(|| name(pid));
            let process = Process { pid, comm };
            owners
                .entry(inode)
                .or_insert((process, fd.unwrap_or(u32::MAX)));
        }
    }
    Ok(owners)
}

fn name(pid: u32) -> Comm {
    fs::read(format!("/proc/{pid}/comm"))
        .map(|name| Comm::from_bytes(&name))
        .unwrap_or_default()
}

/// The inode of the socket that a descriptor's link names.
fn socket_inode(path: &Path) -> Option<u32> {
    let mut link = [0u8; 64];
    let length = readlinkat_raw(CWD, path, &mut link).ok()?;
    let link = link.get(..length)?;
    let inode = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inode).ok()?.parse().ok()
}
