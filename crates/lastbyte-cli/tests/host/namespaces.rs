//! Several network namespaces at once: the same addresses and ports are in each of them.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::space::{Space, Watch, ip, text};
use crate::story::PYTHON;

/// Connects 127.0.0.1:5001 to 127.0.0.1:5000 and ends that cleanly, or with input unread;
/// says in which network namespace.
const SCRIPT: &str = "
import os, select, socket, sys
listener = socket.create_server(('127.0.0.1', 5000))
client = socket.create_connection(('127.0.0.1', 5000), source_address=('127.0.0.1', 5001))
server = listener.accept()[0]
server.sendall(b'x' * 10)
assert select.select([client], [], [], 10)[0]
if sys.argv[1] == 'clean':
    assert client.recv(100) == b'x' * 10
client.close()
assert select.select([server], [], [], 10)[0]
server.close()
print(os.readlink('/proc/self/ns/net'), end='')
";

fn ends(mut command: Command, how: &str) -> String {
    let output = command
        .args([PYTHON, "-c", SCRIPT, how])
        .output()
        .expect("python3 is installed");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn inside(space: &Space) -> Command {
    space.command("env")
}

/// What was told of port 5001's end, by network namespace.
fn told(lines: &[Value]) -> BTreeMap<String, &Value> {
    lines
        .iter()
        .filter(|line| line["local"] == "127.0.0.1:5001" && line["remote"] == "127.0.0.1:5000")
        .map(|line| {
            (
                line["netns"].as_str().expect("it is known").to_owned(),
                line,
            )
        })
        .collect()
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lastbyte"))
}

pub(crate) fn the_same_ends_in_two() {
    let (one, two) = (Space::new(), Space::new());
    let unseen = Space::new();
    let arguments = ["--json", "--netns", one.name(), "--netns", two.name()];
    let watch = Watch::start(binary(), &arguments);
    let clean = ends(inside(&one), "clean");
    let reset = ends(inside(&two), "unread");
    ends(inside(&unseen), "clean");
    watch.settle(4);
    let said = watch.said().to_owned();
    let (lines, _) = watch.stop();
    assert!(
        said.contains(&format!("{clean} ({})", one.name())),
        "{said}"
    );
    assert!(said.contains("and no other"), "{said}");
    assert_eq!(lines.len(), 4, "{lines:?}");
    let told = told(&lines);
    for (netns, space, fate, by) in [
        (&clean, &one, "confirmed", "none"),
        (&reset, &two, "aborted", "local"),
    ] {
        let ending = told[netns];
        assert_eq!(
            (&ending["fate"], &ending["rst_by"]),
            (&fate.into(), &by.into())
        );
        assert_eq!(ending["netns_name"], space.name());
        assert_eq!(ending["evidence"], "observed");
    }
}

/// Waits in a network namespace of its own.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        let child = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up && echo ready && exec sleep 60",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut sleeper = Self(child);
        let out = sleeper.0.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)
            .expect("it can be read");
        assert_eq!(line, "ready\n");
        sleeper
    }

    fn netns(&self) -> String {
        let link = format!("/proc/{}/ns/net", self.0.id());
        let link = std::fs::read_link(link).expect("it runs");
        link.display().to_string()
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id()));
        command
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn all_and_those_to_come() {
    let named = Space::new();
    let before = Sleeper::start();
    let command = named.command(env!("CARGO_BIN_EXE_lastbyte"));
    let mut watch = Watch::start(command, &["--json", "--netns", "all"]);
    let said = watch.said().to_owned();
    for netns in [ends(inside(&named), "clean"), before.netns()] {
        assert!(said.contains(&netns), "{netns}: {said}");
    }
    let after = Sleeper::start();
    // A cable from here to there goes when the namespace does.
    let cable = format!("lb{}", std::process::id());
    let pid = after.0.id().to_string();
    ip(&[
        "-n",
        named.name(),
        "link",
        "add",
        &cable,
        "type",
        "veth",
        "peer",
        "eth0",
        "netns",
        &pid,
    ]);
    watch.until_said(&format!("{} came", after.netns()));
    let netns = [before.netns(), after.netns()];
    ends(before.inside(), "unread");
    ends(after.inside(), "clean");
    drop(after);
    watch.until_said(&format!("{} went", netns[1]));
    let gone = || {
        let link = named.command("ip").args(["link", "show", &cable]).output();
        !link.expect("it starts").status.success()
    };
    let end = Instant::now() + Duration::from_secs(10);
    while !gone() {
        assert!(Instant::now() < end, "the watch keeps {}", netns[1]);
        std::thread::sleep(Duration::from_millis(20));
    }
    let (lines, said) = watch.stop();
    let told = told(&lines);
    for (netns, fate) in [(&netns[0], "aborted"), (&netns[1], "confirmed")] {
        let ending = told
            .get(netns)
            .unwrap_or_else(|| panic!("{netns} is not in {told:?}\n{said}"));
        assert_eq!(
            (&ending["fate"], &ending["evidence"]),
            (&fate.into(), &"observed".into())
        );
        assert_eq!(ending["netns_name"], Value::Null);
    }
}

/// What is there and what is not, said before anything is watched.
pub(crate) fn sources() {
    let space = Space::new();
    let listed = |mut command: Command| {
        let output = command
            .args(["watch", "--sources"])
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let as_root = listed(space.command(env!("CARGO_BIN_EXE_lastbyte")));
    let missing = as_root.lines().filter(|line| line.contains(" no: "));
    assert_eq!(missing.count(), 0, "{as_root}");
    assert!(as_root.contains("namespace        net:["), "{as_root}");
    let copy = crate::space::Binary::new();
    let as_user = listed(space.command_as_user(copy.path()));
    for name in ["tracepoints", "idle_traces", "owners"] {
        let line = as_user.lines().find(|line| line.starts_with(name));
        assert!(line.is_some_and(|line| line.contains(" no: ")), "{as_user}");
    }
    for name in ["destroy_notices", "socket_dumps"] {
        let line = as_user.lines().find(|line| line.starts_with(name));
        assert!(line.is_some_and(|line| line.ends_with(" yes")), "{as_user}");
    }
}
