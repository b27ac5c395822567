//! The run's processes, and what they hold.
//!
//! Every descendant stays below us, because we are their subreaper. So a look
//! through /proc finds every descriptor table that a socket made in the run can
//! be in, unless it travelled in a message or a thread parted its table; the
//! shim marks both.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::rings;

/// A process and when it started, so that a number used again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Process {
    pid: libc::pid_t,
    started: u64,
}

/// A process, and the program in it: where its code and its stack begin is another
/// number after each exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Image {
    pub(crate) pid: libc::pid_t,
    started: u64,
    place: [u64; 2],
}

/// What /proc shows for an io_uring.
const RING: &[u8] = b"anon_inode:[io_uring]";
/// Looks are repeated while new processes turn up; beyond this the answer is that
/// it cannot be excluded.
const LOOKS: u32 = 8;

/// For each socket, whether a process of the run holds it by another descriptor than
/// the one named beside it. `true` also where that cannot be excluded, or not by
/// `until`.
pub(crate) fn held_beside(asked: &[(u64, (libc::pid_t, i32))], until: Instant) -> Vec<bool> {
    let mut held = vec![false; asked.len()];
    let all_seen = look_through(until, |pid| {
        each_descriptor(pid, until, |link, fd| {
            // A ring can hold sockets that no table shows.
            let is_ring = link == RING && rings::may_hold(pid, fd);
            let inode = socket_number(link);
            for ((wanted, except), held) in asked.iter().zip(&mut held) {
                let is_other = (pid, fd) != (except.0, Some(except.1));
                *held = *held || is_ring || inode == Some(*wanted) && is_other;
            }
        })
    });
    if all_seen.is_none() {
        held.fill(true);
    }
    held
}

/// Which of the sockets a process of the run holds. `None` where that cannot be told, or
/// not by `until`.
pub(crate) fn held(wanted: &HashSet<u64>, until: Instant) -> Option<HashSet<u64>> {
    let mut found = HashSet::new();
    look_through(until, |pid| {
        each_descriptor(pid, until, |link, fd| {
            if let Some(inode) = socket_number(link).filter(|inode| wanted.contains(inode)) {
                found.insert(inode);
            }
            // A ring can hold sockets that no table shows.
            if link == RING && rings::may_hold(pid, fd) {
                found.extend(wanted);
            }
        })
    })?;
    Some(found)
}

/// Calls `each` for every process of the run. `None` if one cannot be looked at, or
/// `each` failed, or new ones turn up without end.
fn look_through(until: Instant, mut each: impl FnMut(libc::pid_t) -> io::Result<()>) -> Option<()> {
    let mut seen = processes(Some(until)).ok()?;
    for _ in 0..LOOKS {
        for process in &seen {
            match each(process.pid) {
                Ok(()) => {}
                Err(error) if is_gone(&error) => {}
                Err(_) => return None,
            }
        }
        // A process that was forked while we looked, by one we had not looked
        // at yet, may hold it though nobody we saw does.
        let now = processes(Some(until)).ok()?;
        if now.is_subset(&seen) {
            return Some(());
        }
        seen = now;
    }
    None
}

/// The programs that run in the run's processes now.
pub(crate) fn images(until: Instant) -> io::Result<HashSet<Image>> {
    let processes = processes(Some(until))?;
    let images = processes.into_iter().filter_map(|process| {
        let text = fs::read(format!("/proc/{}/stat", process.pid)).ok()?;
        let fields: Vec<&str> = after_name(&text)?.split_ascii_whitespace().collect();
        // The 26th and the 28th field; the third was the first of these.
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Image {
            pid: process.pid,
            started: process.started,
            place: [field(26)?, field(28)?],
        })
    });
    Ok(images.collect())
}

/// The numbers of the sockets that a process holds.
pub(crate) fn sockets(pid: libc::pid_t) -> io::Result<HashSet<u64>> {
    let mut sockets = HashSet::new();
    let until = Instant::now() + Duration::from_secs(1);
    each_descriptor(pid, until, |link, _| sockets.extend(socket_number(link)))?;
    Ok(sockets)
}

/// How many descendants there are.
pub(crate) fn count() -> usize {
    processes(None).map_or(0, |processes| processes.len())
}

/// Whether the process goes on: it is neither gone, nor a zombie, nor exiting.
pub(crate) fn is_alive(pid: libc::pid_t) -> bool {
    /// include/linux/sched.h
    const PF_EXITING: u64 = 4;
    let Ok(text) = fs::read(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let Some(rest) = after_name(&text) else {
        return false;
    };
    let mut fields = rest.split_ascii_whitespace();
    let is_dead = fields.next().is_none_or(|state| matches!(state, "Z" | "X"));
    // The ninth field; the third was the first of these.
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u64>().ok());
    !is_dead && flags.is_some_and(|flags| flags & PF_EXITING == 0)
}

/// The fields of /proc/PID/stat from the third on (proc(5)). The name in parentheses may
/// hold anything, so what follows its last one counts.
fn after_name(text: &[u8]) -> Option<&str> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(text.get(end + 1..)?).ok()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// The number in `socket:[…]`.
fn socket_number(link: &[u8]) -> Option<u64> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn each_descriptor(
    pid: libc::pid_t,
    until: Instant,
    mut each: impl FnMut(&[u8], Option<i32>),
) -> io::Result<()> {
    // By the folder's descriptor, which is half the work for the kernel.
    let folder = fs::File::open(format!("/proc/{pid}/fd"))?;
    for (count, entry) in fs::read_dir(format!("/proc/{pid}/fd"))?.enumerate() {
        if count % 64 == 0 && Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let name = entry?.file_name();
        let mut link = [0; 64];
        let link = match read_link(&folder, &name, &mut link) {
            Ok(link) => link,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        each(link, name.to_str().and_then(|name| name.parse().ok()));
    }
    Ok(())
}

/// readlinkat(2). What is longer than the buffer is none of what is looked for.
fn read_link<'b>(
    folder: &fs::File,
    name: &std::ffi::OsStr,
    buffer: &'b mut [u8; 64],
) -> io::Result<&'b [u8]> {
    let mut path = [0_u8; 16];
    let length = name.len().min(path.len() - 1);
    for (place, byte) in path.iter_mut().zip(name.as_bytes().iter().take(length)) {
        *place = *byte;
    }
    // SAFETY: a NUL-terminated name, and room for as many bytes as said.
    let got = unsafe {
        libc::readlinkat(
            folder.as_raw_fd(),
            path.as_ptr().cast(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    match usize::try_from(got) {
        Ok(got) => Ok(buffer.get(..got).unwrap_or_default()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Our descendants that have descriptors.
fn processes(until: Option<Instant>) -> io::Result<HashSet<Process>> {
    // With hidepid=, processes of other users would be missing from the list.
    fs::metadata("/proc/1/stat")?;
    let mut children: HashMap<libc::pid_t, Vec<(Process, bool)>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(io::ErrorKind::TimedOut.into());
        }
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

/// State, parent and start time of /proc/PID/stat.
fn parse(text: &[u8]) -> Option<(u8, libc::pid_t, u64)> {
    let mut fields = after_name(text)?.split_ascii_whitespace();
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
    use std::os::linux::fs::MetadataExt;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn holds(inode: u64, except: (libc::pid_t, i32), until: Instant) -> bool {
        held_beside(&[(inode, except)], until) == [true]
    }

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
        assert!(
            !holds(inode, (0, -1), soon()),
            "we are not our own descendant"
        );
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
        assert!(holds(inode, (0, -1), soon()));
        assert!(
            !holds(inode, (pid, 1), soon()),
            "the one descriptor that is being closed"
        );
        let together = [(inode, (pid, 1)), (inode, (0, -1)), (1, (0, -1))];
        assert_eq!(held_beside(&together, soon()), [false, true, false]);
        assert!(
            holds(1, (0, -1), Instant::now()),
            "what could not be looked at in time is not excluded"
        );
        drop(child.stdin.take());
        child.wait().expect("cat ends with its input");
        assert!(!holds(inode, (0, -1), soon()));
    }
}
