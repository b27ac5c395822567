//! What `--help` prints and what the man pages hold, as snapshots: a change of either is
//! seen in the review. `INSTA_UPDATE=always cargo test -p lastbyte-cli --test help` writes
//! them again.

mod common;

use std::fs;
use std::path::Path;

use common::lastbyte;

#[test]
fn help() {
    insta::assert_snapshot!("lastbyte", lastbyte(&["--help"]));
    for name in [
        "lab",
        "run",
        "watch",
        "doctor",
        "explain",
        "send",
        "recv",
        "man",
        "completions",
    ] {
        insta::assert_snapshot!(name, lastbyte(&[name, "--help"]));
    }
}

/// The page of the command, and the shortest of a subcommand: what is common to all.
#[test]
fn man_pages() {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("help-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    lastbyte(&["man", folder.to_str().expect("text")]);
    for name in ["lastbyte.1", "lastbyte-recv.1"] {
        let page = fs::read_to_string(folder.join(name)).expect("a page");
        insta::assert_snapshot!(name, page.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }
    fs::remove_dir_all(folder).expect("ours");
}
