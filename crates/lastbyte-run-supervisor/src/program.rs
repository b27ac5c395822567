//! What is run, and with what in it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lastbyte_run_protocol::elf::{self, Program};
use lastbyte_run_protocol::flag;

use crate::Error;

pub(crate) const MUSL_LOADER: &str = "musl's loader cannot load the shim, which is built for glibc";

/// Why the shim cannot enter a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obstacle(u32);

impl Obstacle {
    pub(crate) const fn new(flags: u32) -> Self {
        Self(flags)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            flags if flags & flag::STATIC != 0 => "is statically linked: no loader, no shim",
            flags if flags & flag::MUSL != 0 => "is linked with musl, and the shim with glibc",
            flags if flags & flag::GO != 0 => {
                "is a Go program, which makes its system calls itself"
            }
            flags if flags & flag::IO_URING != 0 => {
                "uses an io_uring, in which sockets can be held and closed unseen"
            }
            flags if flags & flag::SECCOMP != 0 => {
                "forbids itself system calls (seccomp), ours perhaps among them"
            }
            flags if flags & flag::FOREIGN != 0 => "is built for another architecture",
            _ => "is set-user-id or set-group-id: the loader ignores LD_PRELOAD",
        })
    }
}

/// Finds the file that exec would take.
pub(crate) fn locate(program: &OsStr) -> Result<PathBuf, Error> {
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return match path.metadata() {
            Ok(_) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::NotFound(program.to_owned()))
            }
            Err(error) => Err(Error::NotExecutable(path, error)),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| {
            file.metadata()
                .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| Error::NotFound(program.to_owned()))
}

/// Why the shim cannot enter `path`, if it cannot.
pub(crate) fn obstacle(path: &Path) -> Option<Obstacle> {
    let mut path = path.to_owned();
    // As many interpreters of interpreters as the kernel follows.
    for _ in 0..=5 {
        let file = File::open(&path).ok()?;
        match elf::inspect(|buffer, offset| file.read_at(buffer, offset).unwrap_or(0)) {
            Program::Covered => {
                let data = file.metadata().ok()?;
                // SAFETY: neither can fail.
                let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
                let gains = data.mode() & libc::S_ISUID != 0 && data.uid() != user
                    || data.mode() & libc::S_ISGID != 0
                        && data.mode() & libc::S_IXGRP != 0
                        && data.gid() != group;
                return gains.then_some(Obstacle(flag::SETUID));
            }
            Program::Uncovered(flags) => return Some(Obstacle(flags)),
            Program::Unknown => return None,
            Program::Script(start, end) => {
                let mut head = [0; elf::HEAD];
                let got = file.read_at(&mut head, 0).ok()?;
                path = PathBuf::from(OsStr::from_bytes(head.get(start..end.min(got))?));
            }
        }
    }
    None
}
