//! The run's processes, and what they hold.
//!
//! Every descendant stays below us, because we are their subreaper. So a look
//! through /proc finds every descriptor table that a socket made in the run can
//! be in, unless it travelled in a message or a thread parted its table; the
//! shim marks both.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// A process and when it started, so that a number used again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Process {
    pid: libc::pid_t,
    started: u64,
}

/// Looks are repeated while new processes turn up; beyond this the answer is that
/// it cannot be excluded.
const LOOKS: u32 = 8;

/// Whether a process of the run, other than `except`'s one descriptor, holds the
/// socket. `true` also where that cannot be excluded.
pub(crate) fn holds(inode: u64, except: (libc::pid_t, i32)) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(mut seen) = processes() else {
        return true;
    };
    for _ in 0..LOOKS {
        for process in &seen {
            match table_holds(process.pid, wanted.as_bytes(), except) {
                Ok(false) => {}
                Ok(true) => return true,
                Err(error) if is_gone(&error) => {}
                Err(_) => return true,
            }
        }
        // A process that was forked while we looked, by one we had not looked
        // at yet, may hold it though nobody we saw does.
        let Ok(now) = processes() else { return true };
        if now.is_subset(&seen) {
            return false;
        }
        seen = now;
    }
    true
}

/// How many descendants there are.
pub(crate) fn count() -> usize {
    processes().map_or(0, |processes| processes.len())
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

fn table_holds(pid: libc::pid_t, wanted: &[u8], except: (libc::pid_t, i32)) -> io::Result<bool> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let link = match fs::read_link(entry.path()) {
            Ok(link) => link,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        let link = link.as_os_str().as_bytes();
        // A ring can hold sockets that no table shows.
        if link == b"anon_inode:[io_uring]" {
            return Ok(true);
        }
        let fd = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if link == wanted && fd != Some(except.1).filter(|_| pid == except.0) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Our descendants that have descriptors.
fn processes() -> io::Result<HashSet<Process>> {
    // With hidepid=, processes of other users would be missing from the list.
    fs::metadata("/proc/1/stat")?;
    let mut children: HashMap<libc::pid_t, Vec<(Process, bool)>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(text) => {
                let Some((state, parent, started)) = parse(&text) else {
                    return Err(io::ErrorKind::InvalidData.into());
                };
                let is_dead = matches!(state, b'Z' | b'X');
                children
                    .entry(parent)
                    .or_default()
                    .push((Process { pid, started }, is_dead));
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let mut found = HashSet::new();
    let mut parents = vec![libc::pid_t::try_from(std::process::id()).unwrap_or(0)];
    while let Some(parent) = parents.pop() {
        for (process, is_dead) in children.remove(&parent).unwrap_or_default() {
            parents.push(process.pid);
            if !is_dead {
                found.insert(process);
            }
        }
    }
    Ok(found)
}

/// State, parent and start time of /proc/PID/stat (proc(5)). The name in
/// parentheses may hold anything, so what follows its last one counts.
fn parse(text: &[u8]) -> Option<(u8, libc::pid_t, u64)> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    // The 22nd field; the third was the first of these.
    let started = fields.nth(17)?.parse().ok()?;
    Some((state, parent, started))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::linux::fs::MetadataExt;

    #[test]
    fn a_name_cannot_fool_the_parser() {
        let text = b"77 (a) S 1 (b) R 42 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0";
        assert_eq!(parse(text), Some((b'R', 42, 12345)));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"1 (x) S"), None);
    }

    #[test]
    fn a_childs_table_is_looked_through() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let fd = listener.as_raw_fd();
        let inode = fs::metadata(format!("/proc/self/fd/{fd}"))
            .expect("ours")
            .st_ino();
        assert!(!holds(inode, (0, -1)), "we are not our own descendant");
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(
                listener
                    .try_clone()
                    .map(std::os::fd::OwnedFd::from)
                    .expect("a copy"),
            )
            .spawn()
            .expect("cat");
        let pid = libc::pid_t::try_from(child.id()).expect("a pid");
        assert!(holds(inode, (0, -1)));
        assert!(
            !holds(inode, (pid, 1)),
            "the one descriptor that is being closed"
        );
        drop(child.stdin.take());
        child.wait().expect("cat ends with its input");
        assert!(!holds(inode, (0, -1)));
    }
}
