//! The true story behind it all: a server slowed down, its handles stood in
//! TIME_WAIT, because a program did not close after recv returned 0. Here `doctor`
//! is asked instead of guessing.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use lastbyte_testkit::need_path;
use serde_json::Value;

use crate::space::{Binary, Space, text};

pub(crate) const SCRIPT: &str = include_str!("story.py");
pub(crate) const PYTHON: &str = "/usr/bin/python3";
const SERVER: &str = "10.99.0.1";
const CLIENT: &str = "10.99.0.2";

/// A part of the story being played; killed at the end.
pub(crate) struct Role(Child);

impl Role {
    /// Starts it and waits until it is under way.
    pub(crate) fn play(mut command: Command, arguments: &[&str]) -> Self {
        need_path(PYTHON, "python3");
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let out = child.stdout.take().expect("stdout is piped");
        let role = Self(child);
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .expect("it can be read");
        assert_eq!(line, "ready\n", "{arguments:?} did not begin");
        role
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn doctor_names_process_cause_and_cure() {
    let (server, client) = Space::pair(SERVER, CLIENT);
    let binary = Binary::new();
    let script = binary.beside("story.py", SCRIPT);
    let script = script.to_str().expect("a plain path");
    let play = |space: &Space, arguments: &[&str]| {
        Role::play(space.command(PYTHON), &[&[script], arguments].concat())
    };

    let leaky = play(&server, &["leaky", SERVER, "7001"]);
    let first = play(&server, &["first", SERVER, "7002"]);
    let _visitor = play(&client, &["visit", SERVER, "7001", "50"]);
    let _load = play(&client, &["load", SERVER, "7002", "20"]);
    let found = doctor(&server, &binary);

    let leak = finding(&found, "close-wait-leak");
    let what = leak["what"].as_str().unwrap_or_default();
    assert!(
        what.starts_with(&format!(
            "pid {} `leaky` (server, port 7001) holds 50 sockets",
            leaky.pid()
        )),
        "{what}"
    );
    assert!(
        what.contains("read the end (recv returned 0) and never closed; fds "),
        "{what}"
    );
    assert!(
        leak["cure"]
            .as_str()
            .is_some_and(|cure| cure.starts_with("Close the socket when recv returns 0"))
    );

    let closes = finding(&found, "time-wait-closes-first");
    let what = closes["what"].as_str().unwrap_or_default();
    assert!(
        what.contains(&format!("pid {} `first` closes first", first.pid())),
        "{what}"
    );
    assert!(
        closes["myth"]
            .as_str()
            .is_some_and(|myth| myth.contains("tcp_tw_recycle"))
    );

    // Fewer ports, so that a slow machine runs out of them as well.
    let fewer = "echo 40000 42999 > /proc/sys/net/ipv4/ip_local_port_range";
    let status = client.command("sh").args(["-c", fewer]).status();
    assert!(status.is_ok_and(|status| status.success()));
    // The client's side of the same world: it closes first, and its ports run out.
    let _waits = play(&server, &["accept", SERVER, "7003"]);
    let eager = play(&client, &["eager", SERVER, "7003", "14"]);
    let found = doctor(&client, &binary);
    let ports = finding(&found, "time-wait-exhaustion");
    let what = ports["what"].as_str().unwrap_or_default();
    assert!(
        what.contains(&format!(
            "local ports toward {SERVER}:7003 are in TIME_WAIT"
        )),
        "{what}"
    );
    assert!(
        what.contains(&format!("pid {} `eager` closes first", eager.pid())),
        "{what}"
    );
    assert!(what.contains("min"), "{what}");
}

pub(crate) fn doctor_finds_nothing_where_nothing_is_wrong() {
    let space = Space::new();
    let output = space
        .command(env!("CARGO_BIN_EXE_lastbyte"))
        .args(["doctor", "--for", "1s"])
        .output()
        .expect("the command starts");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(
        text(&output.stdout).starts_with("Nothing wrong"),
        "{}",
        text(&output.stdout)
    );
}

fn doctor(space: &Space, binary: &Binary) -> Vec<Value> {
    let output = space
        .command(binary.path())
        .args(["doctor", "--json", "--for", "6s"])
        .output()
        .expect("the command starts");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let found = text(&output.stdout);
    print!("{found}");
    found
        .lines()
        .map(|line| serde_json::from_str(line).expect("doctor writes JSON"))
        .collect()
}

fn finding<'a>(found: &'a [Value], id: &str) -> &'a Value {
    found
        .iter()
        .find(|finding| finding["id"] == id)
        .unwrap_or_else(|| panic!("{id} is not among {found:#?}"))
}

pub(crate) fn doctor_without_root_does_not_say_that_nothing_is_wrong() {
    let space = Space::new();
    let binary = Binary::new();
    let output = space
        .command_as_user(binary.path())
        .args(["doctor", "--for", "1s"])
        .output()
        .expect("the command starts");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found = text(&output.stdout);
    assert!(
        found.starts_with("Nothing found, but not everything could be seen"),
        "{found}"
    );
}
