//! What the tests of documents and of texts share.

use std::process::Command;

/// What the command prints with these arguments.
pub(crate) fn lastbyte(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_lastbyte"))
        .args(arguments)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}
