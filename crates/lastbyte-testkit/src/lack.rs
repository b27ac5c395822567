//! What a test needs and this machine may lack.

use std::collections::BTreeMap;
use std::env;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The variable with which a test that lacks something fails: the gate sets it.
/// Tests for root stay ignored for others, because a user may run the gate.
pub const REQUIRE_ALL: &str = "LASTBYTE_REQUIRE_ALL_TESTS";

/// Why a test is ignored. It unwinds out of the test.
pub(crate) struct Lack {
    pub(crate) why: String,
    /// Whether the gate has to provide it.
    pub(crate) is_required: bool,
}

/// Goes on only where `program` is in `PATH`; otherwise the test is ignored and
/// Debian's `package` is named.
pub fn need(program: &str, package: &str) {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = env::split_paths(&path).any(|folder| folder.join(program).exists());
    if !is_there {
        lack(program, package);
    }
}

/// Goes on only where `path` exists; otherwise the test is ignored and Debian's
/// `package` is named.
pub fn need_path(path: impl AsRef<Path>, package: &str) {
    let path = path.as_ref();
    if !path.exists() {
        lack(&path.display().to_string(), package);
    }
}

/// Goes on only for root.
pub fn need_root() {
    if !is_root() {
        unwind("it needs root", false);
    }
}

/// Returns whether the tests run as root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and touches no memory of ours.
    unsafe { libc::geteuid() == 0 }
}

/// Ends the test as ignored.
pub fn ignore(why: &str) -> ! {
    unwind(why, true)
}

fn unwind(why: &str, is_required: bool) -> ! {
    let why = why.to_owned();
    // Not a panic: nothing went wrong, and the hook would print a backtrace.
    resume_unwind(Box::new(Lack { why, is_required }))
}

fn lack(program: &str, package: &str) -> ! {
    *lacking()
        .entry((package.to_owned(), program.to_owned()))
        .or_default() += 1;
    ignore(&format!(
        "{program} is not installed (Debian's package {package})"
    ))
}

/// Returns how many tests lack which program of which package.
fn lacking() -> MutexGuard<'static, BTreeMap<(String, String), usize>> {
    static LACKING: Mutex<BTreeMap<(String, String), usize>> = Mutex::new(BTreeMap::new());
    LACKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what the closing lines say of missing programs.
pub(crate) fn closing_lines() -> Vec<String> {
    let line = |((package, program), tests): (&(String, String), &usize)| {
        let tests = match tests {
            1 => "1 test".to_owned(),
            more => format!("{more} tests"),
        };
        format!("not installed: {program} ({tests}), Debian's package: {package}")
    };
    lacking().iter().map(line).collect()
}
