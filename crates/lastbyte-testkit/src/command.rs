//! Foreign programs that a test runs to their end.

use std::path::Path;
use std::process::{Command, Output};

use crate::need;

/// Runs a program to its end and returns its output. Panics with what it printed as
/// errors if its exit status is not 0.
#[track_caller]
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("it starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Compiles one C source with threads and no warning let through. `flags` come last.
#[track_caller]
pub fn compile_c<S: AsRef<std::ffi::OsStr>>(source: &Path, program: &Path, flags: &[S]) {
    need("cc", "gcc");
    succeed(
        Command::new("cc")
            .args(["-D_GNU_SOURCE", "-Wall", "-Werror", "-pthread", "-o"])
            .arg(program)
            .arg(source)
            .args(flags),
    );
}
