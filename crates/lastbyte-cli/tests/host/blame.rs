//! Whom `doctor` puts an end down to, in numbers that the programs themselves count; and
//! whom it does not accuse.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use lastbyte_testkit::need_path;
use serde_json::Value;

use crate::space::{Binary, Space, interrupt};
use crate::story::PYTHON;

const SCRIPT: &str = include_str!("blame.py");
const SOCKETS: &str = include_str!("sockets.py");
/// The age at which `doctor` calls a socket stuck, and room.
const STUCK: Duration = Duration::from_secs(4);

/// The script in one of its roles.
struct Role {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Role {
    fn play(mut command: Command, arguments: &[&str]) -> Self {
        need_path(PYTHON, "python3");
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, out }
    }

    fn says(&mut self, word: &str) {
        assert_eq!(self.line(), format!("{word}\n"), "it failed");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it can be read");
        line
    }

    fn begin(&mut self) {
        let input = self.child.stdin.as_mut().expect("stdin is piped");
        input.write_all(b"begin\n").expect("it reads");
    }

    fn who(&self, name: &str) -> String {
        format!("pid {} `{name}`", self.child.id())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // The end of its input ends it, and what it started with it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A doctor that looks until it is interrupted.
pub(crate) struct Doctor(Child);

impl Doctor {
    pub(crate) fn start(space: &Space, binary: &Binary, more: &[&str]) -> Self {
        let mut child = space
            .command(binary.path())
            .args(["doctor", "--json", "--for", "60s"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let said = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut looking = said.lines().map_while(Result::ok);
        let began = looking.any(|line| line.contains("looking"));
        assert!(began, "doctor did not begin");
        Self(child)
    }

    /// Its exit status and findings.
    pub(crate) fn findings(mut self) -> (Option<i32>, Vec<Value>) {
        interrupt(self.0.id());
        let mut told = String::new();
        let mut out = self.0.stdout.take().expect("stdout is piped");
        out.read_to_string(&mut told).expect("it can be read");
        let status = self.0.wait().expect("it can be waited for");
        print!("{told}");
        let found = told
            .lines()
            .map(|line| serde_json::from_str(line).expect("doctor writes JSON"))
            .collect();
        (status.code(), found)
    }
}

impl Drop for Doctor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Finding by id and port: how many, and its words.
fn finding<'a>(found: &'a [Value], id: &str, port: u16) -> &'a Value {
    let mut those = found
        .iter()
        .filter(|finding| finding["id"] == id && finding["ports"] == serde_json::json!([port]));
    let one = those
        .next()
        .unwrap_or_else(|| panic!("{id} on port {port} is not among {found:#?}"));
    assert!(those.next().is_none(), "{id} on port {port} is told twice");
    one
}

fn what(finding: &Value) -> &str {
    finding["what"].as_str().unwrap_or_default()
}

pub(crate) fn the_right_end_once() {
    let space = Space::new();
    let binary = Binary::new();
    binary.beside("sockets.py", SOCKETS);
    let script = binary.beside("blame.py", SCRIPT);
    let script = script.to_str().expect("a plain path");
    let mut faults = Role::play(space.command(PYTHON), &[script, "faults", "127.0.0.1"]);
    faults.says("prepared");
    let doctor = Doctor::start(&space, &binary, &[]);
    faults.begin();
    faults.says("ready");
    let made: Value = serde_json::from_str(&faults.line()).expect("it writes JSON");
    std::thread::sleep(STUCK);
    let (status, found) = doctor.findings();
    assert_eq!(status, Some(1));
    let who = faults.who("faults");

    let told = finding(&found, "reset-by-unread-input", 7201);
    assert_eq!(
        what(told),
        format!(
            "{who} (server, port 7201) closed 3 connections with unread input, and so reset the \
             client; the client, {who}, lost {} bytes",
            made["told"]
        )
    );
    let race = finding(&found, "closed-while-peer-sent", 7202);
    assert_eq!(
        what(race),
        format!(
            "{who} (server, port 7202) closed 3 connections first while the client still sent: \
             that got an RST; the client, {who}, lost {} bytes",
            made["race"]
        )
    );
    let proxy = finding(&found, "closed-while-peer-sent", 7203);
    assert_eq!(
        what(proxy),
        format!(
            "{who} (client of port 7203) shut down its sending side, and closed 3 connections \
             before the server's answer had come: the answer got an RST; the server, {who}, lost \
             {} bytes",
            made["half_close"]
        )
    );
    let children = finding(&found, "reset-by-unread-input", 7204);
    assert_eq!(children["count"], 20, "{children}");
    assert_eq!(children["pids"].as_array().map(Vec::len), Some(20));
    assert_eq!(children["examples"].as_array().map(Vec::len), Some(3));
    let inherited = finding(&found, "inherited-descriptor", 7205);
    let text = what(inherited);
    let began = format!(
        "pid {} `sleep` holds 3 sockets whose peer closed",
        made["child"]
    );
    assert!(text.starts_with(&began), "{text}");
    assert!(
        text.contains(&format!("inherited them from {who}")),
        "{text}"
    );

    let unknown: Vec<_> = found
        .iter()
        .filter(|finding| finding["id"] == "unknown-connection")
        .collect();
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert_eq!(unknown[0]["count"], made["strangers"]);
    assert_eq!(unknown[0]["ports"], serde_json::json!([7206, 7207]));
    // And nothing else is: no victim is told of a second time.
    assert_eq!(found.len(), 6, "{found:#?}");
}

pub(crate) fn nobody_who_is_innocent() {
    let space = Space::new();
    let migrate = "echo 1 > /proc/sys/net/ipv4/tcp_migrate_req";
    let status = space.command("sh").args(["-c", migrate]).status();
    assert!(status.is_ok_and(|status| status.success()));
    let binary = Binary::new();
    binary.beside("sockets.py", SOCKETS);
    let script = binary.beside("blame.py", SCRIPT);
    let script = script.to_str().expect("a plain path");
    let mut innocent = Role::play(space.command(PYTHON), &[script, "innocent", "127.0.0.1"]);
    innocent.says("prepared");
    let doctor = Doctor::start(&space, &binary, &["--fail-on", "warning"]);
    innocent.begin();
    innocent.says("ready");
    let made: Value = serde_json::from_str(&innocent.line()).expect("it writes JSON");
    assert_eq!(made["migrated"], 40, "every request is answered");
    let (status, found) = doctor.findings();
    assert_eq!(status, Some(0), "{found:#?}");
    for (id, port) in [
        ("reset-by-unread-input", 7203),
        ("tls-close-notify-unread", 7204),
        ("tls-close-notify-unread", 7205),
        ("aborted-by-linger-zero", 7206),
    ] {
        assert_eq!(finding(&found, id, port)["severity"], "info");
    }
    assert_eq!(found.len(), 4, "{found:#?}");
}

pub(crate) fn each_end_where_the_other_is_elsewhere() {
    const SERVER: &str = "10.99.1.1";
    let (here, there) = Space::pair(SERVER, "10.99.1.2");
    let binary = Binary::new();
    binary.beside("sockets.py", SOCKETS);
    let script = binary.beside("blame.py", SCRIPT);
    let script = script.to_str().expect("a plain path");
    let _server =
        crate::story::Role::play(here.command(PYTHON), &[script, "leaves", SERVER, "7208"]);
    let mut client = Role::play(
        there.command(PYTHON),
        &[script, "goes_on", SERVER, "7208", "5"],
    );
    client.says("ready");
    let of_server = Doctor::start(&here, &binary, &[]);
    let of_client = Doctor::start(&there, &binary, &[]);
    client.begin();
    client.says("done");
    let (status, found) = of_client.findings();
    assert_eq!((status, found.len()), (Some(1), 1), "{found:#?}");
    assert_eq!(
        what(finding(&found, "wrote-after-close", 7208)),
        format!(
            "{} (client of port 7208) went on writing after the server's close, and lost 250 \
             bytes on 5 connections",
            client.who("goes_on")
        )
    );
    // What a client elsewhere sent is not known at the server.
    let (status, found) = of_server.findings();
    assert_eq!((status, found.len()), (Some(0), 1), "{found:#?}");
    let at_server = finding(&found, "closed-while-peer-sent", 7208);
    assert_eq!(at_server["severity"], "warning");
    assert_eq!(
        (&at_server["count"], &at_server["victims"]),
        (&5.into(), &serde_json::json!([]))
    );
}
