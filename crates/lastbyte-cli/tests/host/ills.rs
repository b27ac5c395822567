//! Each ill that `doctor` knows, brought on by an ordinary program, and what it says
//! of them in numbers. (Connections dropped for want of memory are not among them:
//! that limit is the whole machine's.)

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use lastbyte_testkit::need_path;
use serde_json::Value;

use crate::space::{Binary, Space, interrupt};
use crate::story::PYTHON;

const SCRIPT: &str = include_str!("ills.py");
const SOCKETS: &str = include_str!("sockets.py");
const ADDRESS: &str = "127.0.0.1";
/// The age at which `doctor` calls a socket stuck, and room.
const STUCK: Duration = Duration::from_secs(4);

/// A patient; its sockets are open until it is let go.
struct Patient {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Patient {
    fn start(mut command: Command, script: &str, role: &str) -> Self {
        need_path(PYTHON, "python3");
        let mut child = command
            .args([script, role, ADDRESS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, out }
    }

    fn begin(&mut self) {
        let input = self.child.stdin.as_mut().expect("stdin is piped");
        input.write_all(b"begin\n").expect("it reads");
    }

    /// Waits until all is done; what it did.
    fn ready(&mut self) -> Value {
        let mut lines = (&mut self.out).lines().map_while(Result::ok);
        assert_eq!(lines.next().as_deref(), Some("ready"), "it failed");
        let made = lines.next().expect("it tells what it made");
        serde_json::from_str(&made).expect("it writes JSON")
    }

    fn who(&self, name: &str) -> String {
        format!("pid {} `{name}`", self.child.id())
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn doctor_finds_each_of_them() {
    let space = Space::new();
    let few = "echo 4 > /proc/sys/net/ipv4/tcp_max_tw_buckets";
    let status = space.command("sh").args(["-c", few]).status();
    assert!(status.is_ok_and(|status| status.success()));
    let binary = Binary::new();
    binary.beside("sockets.py", SOCKETS);
    let script = binary.beside("ills.py", SCRIPT);
    let script = script.to_str().expect("a plain path");
    let mut hoarder = Patient::start(space.command(PYTHON), script, "hoards");
    let hoarded = hoarder.ready();

    let mut doctor = space
        .command(binary.path())
        .args(["doctor", "--json", "--for", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let said = BufReader::new(doctor.stderr.take().expect("stderr is piped"));
    let looking = said.lines().map_while(Result::ok);
    let mut looking = looking.filter(|line| line.contains("looking"));
    assert!(looking.next().is_some(), "doctor did not begin");
    let mut patient = Patient::start(space.command(PYTHON), script, "ills");
    patient.begin();
    let made = patient.ready();
    // That they are old is what is wrong with some of them.
    std::thread::sleep(STUCK);
    interrupt(doctor.id());
    let mut told = String::new();
    let mut out = doctor.stdout.take().expect("stdout is piped");
    out.read_to_string(&mut told).expect("it can be read");
    let status = doctor.wait().expect("it can be waited for");
    assert_eq!(status.code(), Some(1), "something is wrong: {told}");
    print!("{told}");
    let found: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("doctor writes JSON"))
        .collect();

    let ills = patient.who("ills");
    let lost = |ill: &str| made[ill].as_u64().expect("a number");
    for (ill, why) in [
        ("input_comes_late", "The peer sent more after close()"),
        ("peer_falls_silent", "The peer acknowledged nothing more"),
    ] {
        let lost = lost(ill);
        let what = format!(
            "{ills} (client of ports …) closed 4 connections successfully and lost {lost} bytes that send()"
        );
        has(&found, "lost-after-close", &what, why);
    }
    let what = format!(
        "{ills} (client of ports …) lost 4 connections to silence: the server no longer answered, \
         and the kernel gave up; {} bytes were not acknowledged",
        lost("holder_learns_of_silence"),
    );
    has(&found, "peer-silent", &what, "ETIMEDOUT");
    // Those whose peer was an orphan had unread input at their end as well, which comes
    // before on+0. The one that sends the RST is told of, and whom it hit.
    let what = format!(
        "{ills} (server, ports …) closed 16 connections with unread input, and so reset the client \
         and lost {} bytes; the client, {ills}, lost {} bytes",
        lost("answers_early"),
        lost("peer_resets_the_orphan"),
    );
    has(&found, "reset-by-unread-input", &what, "413");
    let what = format!(
        "{ills} (server, ports …) closed a listener over 8 connections that nobody had accepted"
    );
    has(&found, "backlog-reset", &what, "handshakes");
    let what =
        format!("{ills} (server, port …) does not accept: 2 connections wait in its backlog");
    has(&found, "nobody-accepts", &what, "no accept()");
    let what = format!("of {ills} (2 queued, backlog 1)");
    has(&found, "backlog-overflow", &what, "more slowly");
    let what = "skipped TIME_WAIT because tcp_max_tw_buckets (4) was reached";
    has(&found, "time-wait-overflow", what, "RST");

    let hoards = hoarder.who("hoards");
    let what = format!("{hoards} (server, ports …) holds 4 sockets whose client closed up to ");
    has(&found, "close-wait-leak", &what, "FIN");
    let what = format!("{hoards} (ports …) shut down 4 connections up to ");
    has(&found, "fin-wait2-held", &what, "has not closed its side");
    let queue = hoarded["queue"].as_u64().expect("a number");
    let what = format!("({queue} bytes queued");
    let waiting = has(&found, "orphans-waiting", &what, "zero window");
    assert!(
        waiting.starts_with("4 connections closed by their process still wait for ACKs"),
        "{waiting}"
    );
    // And nothing else is.
    let ids: Vec<_> = found.iter().map(|finding| &finding["id"]).collect();
    assert_eq!(ids.len(), 11, "{ids:?}");
}

/// The finding that says this; all of what it says.
fn has<'a>(found: &'a [Value], id: &str, what: &str, why: &str) -> &'a str {
    let part = |finding: &'a Value, key: &str| finding[key].as_str().unwrap_or_default();
    let plain = |finding| without_ports(part(finding, "what"));
    let finding = found
        .iter()
        .filter(|finding| finding["id"] == id)
        .find(|finding| plain(finding).contains(what) && part(finding, "why").contains(why))
        .unwrap_or_else(|| panic!("{id}: {what:?} because {why:?} is not among {found:#?}"));
    let explained = part(finding, "explained");
    assert_eq!(explained, format!("lastbyte explain {id}"));
    part(finding, "what")
}

/// The ports are whatever was free.
fn without_ports(what: &str) -> String {
    let mut out = String::new();
    let mut rest = what;
    while let Some(at) = ["port ", "ports "]
        .iter()
        .filter_map(|word| Some(rest.find(word)? + word.len()))
        .min()
    {
        out.push_str(&rest[..at]);
        out.push('…');
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_digit() || ", …".contains(c));
    }
    out + rest
}
