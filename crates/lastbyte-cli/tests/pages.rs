//! Man pages and completions, as `man` and the shells read them.

#[macro_use]
extern crate lastbyte_testkit;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::thread;

use lastbyte_testkit::{need, succeed};
use serde_json::Value;

fn main() -> ExitCode {
    lastbyte_testkit::main()
}

fn lastbyte(arguments: &[&str]) -> Output {
    succeed(
        Command::new(env!("CARGO_BIN_EXE_lastbyte"))
            .args(arguments)
            .stdin(Stdio::null()),
    )
}

/// A folder with all man pages.
fn pages(name: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pages-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    lastbyte(&["man", folder.to_str().expect("text")]);
    folder
}

/// A page as `man` shows it, unbroken; that it has nothing to warn of is asserted.
fn shown(page: &Path) -> String {
    let output = Command::new("man")
        .args(["--warnings", "--local-file"])
        .arg(page)
        .env("MANWIDTH", "1000")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("it starts");
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert_eq!(warnings, "", "{}", page.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn each_page_has_its_sections_and_man_has_nothing_to_warn_of() {
    need("man", "man-db");
    need("groff", "groff");
    let folder = pages("sections");
    let sections: &[(&str, &[&str])] = &[
        ("lastbyte", &["EXIT STATUS", "ENVIRONMENT", "FILES"]),
        ("lastbyte-completions", &["EXIT STATUS"]),
        (
            "lastbyte-doctor",
            &["EXIT STATUS", "WHAT NEEDS WHICH PRIVILEGE"],
        ),
        (
            "lastbyte-explain",
            &["EXIT STATUS", "WHAT NEEDS WHICH PRIVILEGE"],
        ),
        (
            "lastbyte-lab",
            &[
                "EXIT STATUS",
                "THE JSON OBJECT",
                "WHAT NEEDS WHICH PRIVILEGE",
            ],
        ),
        ("lastbyte-man", &["EXIT STATUS"]),
        (
            "lastbyte-recv",
            &["EXIT STATUS", "WHAT NEEDS WHICH PRIVILEGE"],
        ),
        (
            "lastbyte-run",
            &["EXIT STATUS", "THE LOG", "WHAT NEEDS WHICH PRIVILEGE"],
        ),
        (
            "lastbyte-send",
            &[
                "EXIT STATUS",
                "THE JSON OBJECT",
                "WHAT NEEDS WHICH PRIVILEGE",
            ],
        ),
        (
            "lastbyte-watch",
            &[
                "EXIT STATUS",
                "THE JSON LINE",
                "THE LIVE VIEW",
                "WHAT NEEDS WHICH PRIVILEGE",
            ],
        ),
    ];
    let written = fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(written, sections.len(), "each subcommand is listed here");
    for (name, sections) in sections {
        let text = shown(&folder.join(name).with_extension("1"));
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"]
            .iter()
            .chain(*sections)
        {
            let line = format!("\n{section}\n");
            assert!(text.contains(&line), "{name} has no {section}:\n{text}");
        }
    }
    fs::remove_dir_all(folder).expect("ours");
}

/// All keys of an object and of what is in it.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                into.insert(key.clone());
                keys(value, into);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

/// Every key of `line` is a word in the page of `name`.
fn has_keys_of(folder: &Path, name: &str, line: &str) {
    let value: Value = serde_json::from_str(line).expect("JSON");
    let mut all = BTreeSet::new();
    keys(&value, &mut all);
    assert!(!all.is_empty(), "{line}");
    let page = fs::read_to_string(folder.join(name).with_extension("1")).expect("the page");
    // A word in bold: roff's own text, because `man` may hyphenate.
    for key in all {
        let bold = format!("\\fB{}\\fR", key.replace('-', "\\-"));
        assert!(page.contains(&bold), "{name} has no {key}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A peer that reads everything of everybody and closes; where it listens.
fn reader() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let at = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::io::copy(&mut stream, &mut std::io::sink()).expect("an end");
        }
    });
    at
}

#[test]
fn the_pages_have_every_key_that_is_printed() {
    need("bash", "bash");
    let folder = pages("keys");
    let lab = lastbyte(&["lab", "--json", "--row", "A1,A2"]);
    has_keys_of(&folder, "lastbyte-lab", &text(&lab.stdout));

    let at = reader();
    let port = at.port().to_string();
    let mut watch = Command::new(env!("CARGO_BIN_EXE_lastbyte"))
        .args(["watch", "--json", "--for", "60s", "--port", &port])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut errors = BufReader::new(watch.stderr.take().expect("piped")).lines();
    let begun = errors.find(|line| matches!(line, Ok(line) if line == "lastbyte: watching"));
    assert!(begun.is_some(), "the watch did not begin");

    let send = lastbyte(&[
        "send",
        "--json",
        &at.to_string(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    has_keys_of(&folder, "lastbyte-send", &text(&send.stdout));
    let mut line = String::new();
    BufReader::new(watch.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("an ending");
    has_keys_of(&folder, "lastbyte-watch", &line);
    watch.kill().expect("ours");
    watch.wait().expect("ours");

    let program = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo hello >&3; exec 3>&-");
    let run = lastbyte(&["run", "--log", "-", "--", "bash", "-c", &program]);
    has_keys_of(&folder, "lastbyte-run", &text(&run.stdout));
    fs::remove_dir_all(folder).expect("ours");
}

/// What bash completes for `words`, the last of which is under the cursor.
fn bash(words: &[&str]) -> Vec<String> {
    let script = text(&lastbyte(&["completions", "bash"]).stdout);
    let mut shell = Command::new("bash")
        .args(["--norc", "-s", "--"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let script = format!(
        "{script}\nCOMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=()\n\
         _lastbyte_or_program lastbyte \"${{!#}}\" \"${{@: -2:1}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let mut input = shell.stdin.take().expect("piped");
    input.write_all(script.as_bytes()).expect("it reads");
    drop(input);
    let output = shell.wait_with_output().expect("it ends");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// What fish completes for a line.
fn fish(line: &str) -> Vec<String> {
    let script = text(&lastbyte(&["completions", "fish"]).stdout);
    let output = Command::new("fish")
        .args(["--no-config", "-c"])
        .arg(format!("{script}\ncomplete -C '{line}'"))
        .output()
        .expect("it starts");
    let lines = text(&output.stdout);
    let words = lines.lines().filter_map(|line| line.split('\t').next());
    words.map(str::to_owned).collect()
}

const ROWS_OF_D: [&str; 8] = ["D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8"];

#[test]
fn bash_completes_rows_words_and_programs() {
    need("bash", "bash");
    let rows = bash(&["lastbyte", "lab", "--row", "D"]);
    assert!(
        ROWS_OF_D.iter().all(|row| rows.contains(&row.to_string())),
        "{rows:?}"
    );
    for (beginning, word) in [
        ("TCPAbortOn", "TCPAbortOnData"),
        ("CLOSE_W", "CLOSE_WAIT"),
        ("ECONNR", "ECONNRESET"),
        ("deliv", "delivered"),
    ] {
        let words = bash(&["lastbyte", "explain", beginning]);
        assert!(words.contains(&word.to_owned()), "{beginning}: {words:?}");
    }
    for before in [
        &["lastbyte", "run"][..],
        &["lastbyte", "run", "--linger", "5s", "--"],
    ] {
        let words = bash(&[before, &["bas"]].concat());
        assert!(words.contains(&"bash".to_owned()), "{before:?}: {words:?}");
    }
    let words = bash(&["lastbyte", "run", "--summ"]);
    assert_eq!(words, ["--summary"]);
}

#[test]
fn fish_completes_rows_words_and_programs() {
    need("fish", "fish");
    assert_eq!(fish("lastbyte lab --row D")[..8], ROWS_OF_D);
    assert!(fish("lastbyte explain TCPAbortOn").contains(&"TCPAbortOnData".to_owned()));
    for line in ["lastbyte run fis", "lastbyte run --linger 5s fis"] {
        assert!(fish(line).contains(&"fish".to_owned()), "{line}");
    }
}

#[test]
fn zsh_reads_its_completions() {
    need("zsh", "zsh");
    let script = text(&lastbyte(&["completions", "zsh"]).stdout);
    assert!(
        script.contains("(D1 D2 ") || script.contains(" D1 "),
        "rows"
    );
    assert!(script.contains("TCPAbortOnData"), "words");
    assert!(script.contains(":_cmdambivalent"), "programs");
    let mut shell = Command::new("zsh")
        .args(["-f", "-n", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = shell.stdin.take().expect("piped");
    input.write_all(script.as_bytes()).expect("it reads");
    drop(input);
    let output = shell.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
}
