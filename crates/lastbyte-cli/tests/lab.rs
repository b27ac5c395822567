//! `lastbyte lab`: the whole of it, as a program sees it, whoever runs it.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

#[macro_use]
extern crate lastbyte_testkit;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::sync::LazyLock;

use lastbyte_testkit::ignore;
use serde_json::Value;

const LASTBYTE: &str = env!("CARGO_BIN_EXE_lastbyte");
/// The id of nobody on every Linux.
const NOBODY: u32 = 65_534;
/// What the whole lab may take.
const LIMIT_MS: u64 = 15_000;

/// The command as an ordinary user runs it.
fn as_ordinary_user() -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(LASTBYTE);
    }
    // By descriptor: the path may be closed to ordinary users.
    static PROGRAM: LazyLock<File> = LazyLock::new(|| File::open(LASTBYTE).unwrap());
    let mut command = Command::new(format!("/proc/self/fd/{}", PROGRAM.as_raw_fd()));
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

/// One test, so that no two labs run at once and blur each other's timing.
#[test]
fn lastbyte_keeps_every_row_and_close_does_not() {
    for mut command in [Command::new(LASTBYTE), as_ordinary_user()] {
        whole_lab(&command.args(["lab", "--json"]).output().unwrap());
    }
}

/// Ends the test as ignored where the system lets this user capture no packets.
fn demand_run<'a>(mut reasons: impl Iterator<Item = &'a Value>) {
    if let Some(why) = reasons.find_map(Value::as_str) {
        ignore(why);
    }
}

/// The documented format, and what it must show.
fn whole_lab(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    let lab: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("no JSON ({e}), {}: {said}", output.status);
    });
    let rows = lab["rows"].as_array().unwrap();
    demand_run(rows.iter().map(|row| &row["lastbyte"]["not_run"]));
    let ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(
        ids,
        [
            "A1", "A2", "A3", "A4", "A5", "B1", "B2", "B3", "B4", "C1", "C2", "C3", "D1", "D2",
            "D3", "D4", "D5", "D6", "D7", "D8", "E1", "E2", "E3", "F1",
        ]
    );
    for row in rows {
        assert!(row["manual"].is_string());
        for who in ["kernel", "lastbyte"] {
            assert!(row[who]["kept"].is_boolean() && row[who]["saw"].is_string());
        }
        let lastbyte = &row["lastbyte"];
        assert_eq!(lastbyte["kept"], true, "{}: {lastbyte}", row["id"]);
        assert!(lastbyte["not_run"].is_null());
    }
    for id in ["B2", "B3", "D2", "D3", "D5", "D6", "E1"] {
        let row = rows.iter().find(|row| row["id"] == id).unwrap();
        assert_eq!(row["kernel"]["kept"], false, "{id}: {}", row["kernel"]);
        assert!(row["kernel"]["not_run"].is_null());
    }
    assert_eq!(lab["kept"]["rows"], 24);
    assert_eq!(lab["kept"]["lastbyte"], 24);
    assert!(lab["kernel"].as_str().unwrap().contains('.'));
    assert!(["namespace", "loopback"].contains(&lab["where"].as_str().unwrap()));
    assert!(
        lab["took_ms"].as_u64().unwrap() < LIMIT_MS,
        "{}",
        lab["took_ms"]
    );
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn a_row_is_shown_with_its_packets() {
    let output = Command::new(LASTBYTE)
        .args(["lab", "--row", "c1"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    if text.contains("lastbyte: not run") {
        ignore(&text);
    }
    for words in [
        "C1  l_linger = 0",
        "close called",
        "us → peer  RST",
        "lastbyte: kept",
    ] {
        assert!(text.contains(words), "{words} is missing from:\n{text}");
    }
    assert!(!text.contains('\x1b'), "colours in a pipe");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn markdown_has_one_line_a_row() {
    let output = Command::new(LASTBYTE)
        .args(["lab", "--markdown", "--row", "A1,C2"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[1], "|---|---|---|---|");
    assert!(lines[2].starts_with("| A1 | By default"), "{text}");
    assert!(lines[3].starts_with("| C2 | "), "{text}");
}

/// Nobody may open packet sockets on the host's own loopback, so rows that need
/// packets do not run there, and are not counted as kept.
#[test]
fn what_cannot_run_is_not_kept() {
    let output = as_ordinary_user()
        .args(["lab", "--json", "--loopback", "--row", "A1,D2"])
        .output()
        .unwrap();
    let lab: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(lab["where"], "loopback");
    let d2 = &lab["rows"][1]["lastbyte"];
    assert_eq!(d2["kept"], false);
    assert!(
        d2["not_run"].as_str().unwrap().contains("CAP_NET_RAW"),
        "{d2}"
    );
    assert_eq!(
        lab["kept"],
        serde_json::json!({"kernel": 1, "lastbyte": 1, "rows": 2})
    );
    assert_eq!(output.status.code(), Some(0));
}

fn main() -> std::process::ExitCode {
    lastbyte_testkit::main()
}
