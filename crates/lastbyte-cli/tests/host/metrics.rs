//! `--prometheus`, watching a network namespace from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use lastbyte_testkit::need;

use crate::flood;
use crate::space::{Space, Watch, text as lossy};
use crate::story::PYTHON;

pub(crate) fn served() {
    const NUMBER: u32 = 400;
    let space = Space::new();
    let watch = Watch::start(
        Command::new(env!("CARGO_BIN_EXE_lastbyte")),
        &["--json", "--netns", space.name(), "--prometheus", "0"],
    );
    let address = address(&watch);
    assert!(address.ip().is_loopback());
    let status = flood::load(&space, NUMBER, false)
        .status()
        .expect("the load runs");
    assert!(status.success());
    watch.settle(2 * NUMBER as usize);
    // Each ending was counted before its line was written.
    let text = scrape(address, OPEN);
    let total: u64 = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("lastbyte_endings_total{")?
                .rsplit(' ')
                .next()
        })
        .map(|number| number.parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(total, u64::from(2 * NUMBER), "{text}");
    for line in [
        "# UNIT lastbyte_lost_bytes bytes",
        "# EOF",
        "lastbyte_endings_dropped_total{by=\"kernel\"} 0",
        "lastbyte_endings_dropped_total{by=\"lastbyte\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(
        text.contains("lastbyte_closing_state_duration_seconds_bucket{le="),
        "{text}"
    );
    drop(watch);
}

/// All series are there at 0 before anything ended, in a form that Prometheus' own tool
/// finds nothing wrong with.
pub(crate) fn are_whole_and_of_good_form() {
    need("promtool", "prometheus");
    let space = Space::new();
    let watch = Watch::start(
        Command::new(env!("CARGO_BIN_EXE_lastbyte")),
        &["--json", "--netns", space.name(), "--prometheus", "0"],
    );
    let text = scrape(address(&watch), "text/plain");
    for line in [
        "# TYPE lastbyte_endings_total counter",
        "lastbyte_endings_total{fate=\"reset\",closed_first=\"unknown\"} 0",
        "lastbyte_resets_total{by=\"peer\",reason=\"TCP_ABORT_ON_DATA\"} 0",
        "lastbyte_lost_bytes_total{fate=\"failed\"} 0",
        "lastbyte_closing_state_duration_seconds_count{state=\"close_wait\"} 0",
        "lastbyte_closing_sockets{state=\"CLOSE_WAIT\"} 0",
        "lastbyte_endings_by_evidence_total{evidence=\"inferred\"} 0",
        "lastbyte_source_available{source=\"tracepoints\"} 1",
        "lastbyte_time_wait_sockets 0.0",
        "lastbyte_local_ports_left 28232.0",
        concat!(
            "lastbyte_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool was found");
    let mut input = check.stdin.take().expect("stdin is piped");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let checked = check.wait_with_output().expect("it can be waited for");
    let said = format!("{}{}", lossy(&checked.stdout), lossy(&checked.stderr));
    assert!(
        checked.status.success() && said.is_empty(),
        "{said}\n{text}"
    );
}

/// Connections that say nothing, or little and slowly, as many as an attacker likes:
/// the server ended at the first lack of a descriptor, and the watch lost its owners.
pub(crate) fn nobody_ends_or_starves_them() {
    need("curl", "curl");
    let space = Space::new();
    let mut limited = space.command("prlimit");
    limited.args(["--nofile=256:256", env!("CARGO_BIN_EXE_lastbyte")]);
    let watch = Watch::start(limited, &["--json", "--prometheus", "9190"]);
    let mut attack = Attack::start(&space);
    for _ in 0..5 {
        let answer = space
            .command("curl")
            .args(["-sS", "--max-time", "5", "http://127.0.0.1:9190/metrics"])
            .output()
            .expect("curl is installed");
        assert!(
            lossy(&answer.stdout).contains("lastbyte_build_info{"),
            "{}",
            lossy(&answer.stderr)
        );
    }
    // What ends meanwhile is told, with its owner.
    let status = flood::load(&space, 40, false).status().expect("it runs");
    assert!(status.success() && attack.is_under_way());
    drop(attack);
    let (lines, said) = watch.stop();
    let owned = lines.iter().filter(|line| {
        let ends = [&line["local"], &line["remote"]];
        let ours = ends.iter().all(|end| !end.to_string().contains(":9190"));
        ours && !line["pid"].is_null()
    });
    assert_eq!(owned.count(), 80, "{said}");
    assert!(!said.contains("no more"), "{said}");
}

/// Opens connections as fast as it can, and keeps some hundreds of them.
struct Attack(Child);

impl Attack {
    fn start(space: &Space) -> Self {
        const SCRIPT: &str = "
import collections, socket
kept = collections.deque(maxlen=800)
print('ready', flush=True)
while True:
    s = socket.socket()
    s.settimeout(5)
    s.connect(('127.0.0.1', 9190))
    if len(kept) % 2:
        s.sendall(b'GET /metrics HTTP/1.1\\r\\nHost: x\\r\\nX-')
    kept.append(s)
";
        let mut child = space
            .command(PYTHON)
            .args(["-c", SCRIPT])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let out = child.stdout.take().expect("stdout is piped");
        let attack = Self(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("it writes");
        assert_eq!(line, "ready\n");
        attack
    }

    fn is_under_way(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|ended| ended.is_none())
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn beyond_loopback_a_warning() {
    let space = Space::new();
    for (address, warns) in [("0.0.0.0:0", true), ("[::]:0", true), ("[::1]:0", false)] {
        let command = space.command(env!("CARGO_BIN_EXE_lastbyte"));
        let watch = Watch::start(command, &["--json", "--prometheus", address]);
        let warned = watch
            .said()
            .contains("warning: the metrics are served beyond loopback");
        assert_eq!(warned, warns, "{address}: {}", watch.said());
    }
}

fn address(watch: &Watch) -> SocketAddr {
    let line = |line: &str| {
        let address = line
            .strip_prefix("lastbyte: metrics on http://")?
            .strip_suffix("/metrics")?;
        address.parse().ok()
    };
    watch.said().lines().find_map(line).expect("it says where")
}

const OPEN: &str = "application/openmetrics-text";

/// What is served to a request that accepts this, and nothing else.
fn scrape(address: SocketAddr, accept: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains(accept), "{head}");
    body.to_owned()
}
