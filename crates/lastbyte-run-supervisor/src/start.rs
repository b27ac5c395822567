//! The program's start: what it finds is what it would have found without us.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use lastbyte_run_protocol::{Address, ENVIRONMENT};

use crate::Error;

/// Variables in which a service manager names the process it started (sd_listen_fds(3),
/// sd_watchdog_enabled(3)). The program only heeds them if they name itself.
const NAMES_A_PROCESS: [&str; 2] = ["LISTEN_PID", "WATCHDOG_PID"];
/// Digits of a process number, and the NUL.
const DIGITS: usize = 12;

/// What the program inherits.
pub(crate) struct Inheritance<'a> {
    pub(crate) shim: &'a Path,
    pub(crate) address: Address,
    pub(crate) ends: [RawFd; 3],
    pub(crate) files: libc::rlimit,
    pub(crate) mask: libc::sigset_t,
    /// What SIGPIPE does.
    pub(crate) pipe: libc::sighandler_t,
    /// The process that a service manager would have started the program in.
    pub(crate) instead_of: u32,
}

/// Starts the program.
pub(crate) fn start(
    program: &OsStr,
    path: &Path,
    arguments: &[OsString],
    inheritance: &Inheritance<'_>,
) -> Result<Child, Error> {
    let mut image = Image::new(program, path, arguments, inheritance)?;
    let Inheritance {
        ends,
        files,
        mask,
        pipe,
        ..
    } = *inheritance;
    // Only for the fork and for the way back of an error: the image is ours.
    let mut command = Command::new(path);
    // SAFETY: only async-signal-safe calls, and no memory but what was made before.
    unsafe {
        command.pre_exec(move || {
            for fd in ends {
                if libc::fcntl(fd, libc::F_SETFD, 0) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
            // std has set it to the default (std::process).
            libc::signal(libc::SIGPIPE, pipe);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut());
            Err(image.execute())
        });
    }
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(program.to_owned()),
        _ => Error::NotExecutable(path.to_owned(), error),
    })
}

/// Everything execve wants, made before the fork.
struct Image {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<Vec<u8>>,
    /// Which of the environment get the process's own number, and from which byte on.
    own_number: Vec<(usize, usize)>,
    argument_pointers: Vec<*const libc::c_char>,
    environment_pointers: Vec<*const libc::c_char>,
}

// SAFETY: the pointers are into the vectors beside them, whose contents do not move.
unsafe impl Send for Image {}
// SAFETY: as above; only `execute` uses them.
unsafe impl Sync for Image {}

impl Image {
    fn new(
        program: &OsStr,
        path: &Path,
        arguments: &[OsString],
        inheritance: &Inheritance<'_>,
    ) -> Result<Self, Error> {
        let text = |text: &OsStr| {
            CString::new(text.as_bytes())
                .map_err(|error| Error::NotExecutable(path.to_owned(), io::Error::other(error)))
        };
        let arguments = std::iter::once(program)
            .chain(arguments.iter().map(OsString::as_os_str))
            .map(text)
            .collect::<Result<Vec<_>, _>>()?;
        let mut own_number = Vec::new();
        let mut environment = Vec::new();
        for (name, value) in variables(inheritance)? {
            let mut entry = name.as_bytes().to_vec();
            entry.push(b'=');
            let names_us = NAMES_A_PROCESS.iter().any(|one| name == *one)
                && value.to_str().and_then(|text| text.parse().ok())
                    == Some(inheritance.instead_of);
            if names_us {
                own_number.push((environment.len(), entry.len()));
                entry.resize(entry.len() + DIGITS, 0);
            } else {
                entry.extend_from_slice(value.as_bytes());
                entry.push(0);
            }
            environment.push(entry);
        }
        let argument_pointers = arguments
            .iter()
            .map(|argument| argument.as_ptr())
            .chain([std::ptr::null()])
            .collect();
        let environment_pointers = environment
            .iter()
            .map(|entry| entry.as_ptr().cast())
            .chain([std::ptr::null()])
            .collect();
        Ok(Self {
            path: text(path.as_os_str())?,
            arguments,
            environment,
            own_number,
            argument_pointers,
            environment_pointers,
        })
    }

    /// Becomes the program; returns only with an error. Runs between fork and exec.
    fn execute(&mut self) -> io::Error {
        // SAFETY: cannot fail.
        let number = unsafe { libc::getpid() }.unsigned_abs();
        for (index, start) in &self.own_number {
            if let Some(field) = self
                .environment
                .get_mut(*index)
                .and_then(|entry| entry.get_mut(*start..))
            {
                decimal(field, number);
            }
        }
        debug_assert_eq!(self.argument_pointers.len(), self.arguments.len() + 1);
        // SAFETY: NUL-terminated strings, and lists of them that end in NULL. A name with
        // a slash is not searched for.
        unsafe {
            libc::execvpe(
                self.path.as_ptr(),
                self.argument_pointers.as_ptr(),
                self.environment_pointers.as_ptr(),
            );
        }
        io::Error::last_os_error()
    }
}

/// The environment of the program.
fn variables(inheritance: &Inheritance<'_>) -> Result<Vec<(OsString, OsString)>, Error> {
    let shim = inheritance.shim;
    let is_special = |byte: &u8| matches!(byte, b' ' | b':');
    if shim.as_os_str().as_bytes().iter().any(is_special) {
        return Err(Error::ShimPath(shim.to_owned()));
    }
    let mut preload = shim.as_os_str().to_owned();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    let address = inheritance.address.encode();
    let ours = [
        (OsString::from("LD_PRELOAD"), preload),
        (
            OsString::from(ENVIRONMENT),
            OsStr::from_bytes(&address).to_owned(),
        ),
    ];
    let is_ours = |name: &OsString| ours.iter().any(|(ours, _)| ours == name);
    let mut all: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| !is_ours(name))
        .collect();
    all.extend(ours.clone());
    Ok(all)
}

/// Writes `number` and a NUL to the front of `field`, which has room for any.
fn decimal(field: &mut [u8], mut number: u32) {
    let mut length = 1;
    let mut rest = number / 10;
    while rest > 0 {
        length += 1;
        rest /= 10;
    }
    if let Some(end) = field.get_mut(length) {
        *end = 0;
    }
    for place in field.iter_mut().take(length).rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_without_leading_zeros() {
        for (number, text) in [
            (0, &b"0\0"[..]),
            (7, b"7\0"),
            (4_194_304, b"4194304\0"),
            (u32::MAX, b"4294967295\0"),
        ] {
            let mut field = [0xff; DIGITS];
            decimal(&mut field, number);
            assert_eq!(&field[..text.len()], text);
        }
    }
}
