//! What becomes of a command whose standard output cannot be written: with a full
//! device it says so and its status is 2; a reader that has gone ends it as it ends
//! any program, by SIGPIPE and in silence.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::thread;

/// Commands that need no peer, and print something.
const COMMANDS: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["run", "--help"],
    &["explain"],
    &["explain", "ECONNRESET"],
    &["lab", "--row", "A1"],
    &["lab", "--row", "A1", "--json"],
    &["lab", "--row", "A1", "--markdown"],
    &["completions", "bash"],
    &["completions", "zsh"],
    &["doctor", "--for", "50ms"],
];

fn lastbyte(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastbyte"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// `command` with a device that is full.
fn on_a_full_device(command: &mut Command) -> Output {
    let full = File::options().write(true).open("/dev/full");
    let full = full.expect("Linux has /dev/full");
    command.stdout(full).output().expect("it starts")
}

/// `command` with a pipe that nobody reads.
fn without_a_reader(command: &mut Command) -> Output {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    command.stdout(writer).output().expect("it starts")
}

fn is_said(output: &Output, what: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{what}: {errors}");
    let line = "lastbyte: cannot write to standard output: No space left on device";
    assert!(errors.contains(line), "{what}: {errors}");
    assert!(!errors.contains("panicked"), "{what}: {errors}");
}

fn is_quiet(output: &Output, what: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.signal(),
        Some(libc::SIGPIPE),
        "{what}: {errors}"
    );
    for word in ["panicked", "standard output", "roken pipe"] {
        assert!(!errors.contains(word), "{what}: {errors}");
    }
}

#[test]
fn a_full_device_is_an_error() {
    for arguments in COMMANDS {
        let output = on_a_full_device(&mut lastbyte(arguments));
        is_said(&output, &format!("{arguments:?}"));
    }
}

#[test]
fn a_reader_that_has_gone_ends_the_command_quietly() {
    for arguments in COMMANDS {
        let output = without_a_reader(&mut lastbyte(arguments));
        is_quiet(&output, &format!("{arguments:?}"));
    }
}

/// `send` to a peer that reads everything and closes.
fn send(options: &[&str], run: fn(&mut Command) -> Output) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let at = listener.local_addr().expect("bound").to_string();
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        std::io::copy(&mut stream, &mut std::io::sink()).expect("an end")
    });
    let output = run(lastbyte(&["send"])
        .args(options)
        .args([&at, "/proc/self/exe"]));
    assert!(
        peer.join().expect("no panic") > 0,
        "it was sent all the same"
    );
    output
}

#[test]
fn send_says_that_its_report_was_not_written() {
    for options in [&["--json"][..], &[]] {
        is_said(&send(options, on_a_full_device), "send");
        is_quiet(&send(options, without_a_reader), "send");
    }
}

/// `recv` of more than a line buffer holds.
fn receive(run: fn(&mut Command) -> Output) -> Output {
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|one| one.local_addr())
        .expect("loopback")
        .port();
    let sender = thread::spawn(move || {
        // It listens as soon as it runs, which nobody says before its end.
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(_) => thread::yield_now(),
            }
        };
        // It may stop reading.
        let _ = stream.write_all(&[b'x'; 10_000]);
    });
    let output = run(&mut lastbyte(&["recv", "--port", &port.to_string()]));
    sender.join().expect("no panic");
    output
}

#[test]
fn recv_says_that_it_cannot_write_what_came() {
    is_said(&receive(on_a_full_device), "recv");
    is_quiet(&receive(without_a_reader), "recv");
}

/// `watch` of the connections of one port, of which there is one.
fn watch(run: fn(&mut Command) -> Output) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let at = listener.local_addr().expect("bound");
    let port = at.port().to_string();
    let watched = thread::spawn(move || {
        run(&mut lastbyte(&[
            "watch", "--json", "--for", "30s", "--port", &port,
        ]))
    });
    // One ending after another, until one was seen and its line not written.
    while !watched.is_finished() {
        drop(TcpStream::connect(at).expect("it listens"));
        drop(listener.accept().expect("a connection"));
    }
    watched.join().expect("no panic")
}

#[test]
fn watch_says_that_it_cannot_write_its_lines() {
    is_said(&watch(on_a_full_device), "watch");
    is_quiet(&watch(without_a_reader), "watch");
}
