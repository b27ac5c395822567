//! What was not covered is counted, with the bytes lost, and a log changes nothing.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lastbyte_testkit::need;
use serde_json::Value;

use crate::harness::{End, Peer, python, read_all, scratch, text};

/// Leaves input unread and more sent than the peer takes, says so, and ends as it is told.
const DIES: &str = "s = connect(); unread(s); big(s); say('ready'); hear()\n\
                    way = sys.argv[2]\n\
                    os.abort() if way == 'abort' else os.kill(os.getpid(), int(way))";

const BIG: u64 = 300_000;

/// Plays `source` to its end. The witness of what was lost is what the peer got.
fn dies(source: &str, way: &str) -> (Vec<Value>, String, u64) {
    let log = log_file(way);
    let peer = Peer::new();
    let options = ["--log", log.to_str().expect("text"), "--summary"];
    let mut talk = crate::harness::Talk::start(&mut python(&options, source, peer.port(), &[way]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "ready");
    talk.say("end");
    let (_, _, errors) = talk.finish();
    let (got, end) = read_all(&stream);
    assert_eq!(end, End::Reset, "the kernel answers unread input so");
    let lines = std::fs::read_to_string(&log).expect("a log");
    std::fs::remove_file(&log).expect("ours");
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    (lines, errors, got as u64)
}

fn log_file(way: &str) -> PathBuf {
    scratch().join(format!("account-{way}-{}", std::process::id()))
}

#[test]
fn a_process_that_a_signal_ends_is_counted_with_the_bytes_lost() {
    for way in ["9", "15", "11", "abort"] {
        let (lines, errors, got) = dies(DIES, way);
        let [line, account] = lines.as_slice() else {
            panic!("{way}: {lines:?}");
        };
        assert_eq!(line["fate"], "detached", "{line}");
        let lost = line["lost"].as_u64().expect("the kernel tells");
        // What was acknowledged the peer has; what came after that it may have, too.
        assert_eq!(line["acked"].as_u64(), Some(BIG - lost));
        assert!(
            lost <= BIG && BIG - lost <= got,
            "{line}, the peer got {got}"
        );
        assert!(lost > 0 && line["remote"].is_string() && line["elapsed_us"].is_null());
        let left = &account["left_to_kernel"];
        assert_eq!(left["closes"], 1, "{account}");
        assert_eq!(left["lost"], lost, "{account}");
        let words = format!(
            "1 connection left to the kernel (its process ended without closing it: 1); \
             bytes lost there: {lost}"
        );
        assert!(errors.contains(&words), "{errors}");
    }
}

#[test]
fn a_child_that_a_signal_ends_is_counted_though_its_parent_goes_on() {
    let source = "s = connect(); unread(s); child = os.fork()\n\
                  if not child:\n  big(s); say('ready'); hear(); os.kill(os.getpid(), 9)\n\
                  os.close(s.detach()); os.waitpid(child, 0)";
    let (lines, errors, _) = dies(source, "child");
    let account = &lines.last().expect("an account")["left_to_kernel"];
    assert_eq!(account["closes"], 1, "{lines:?} {errors}");
    assert!(account["lost"].as_u64() > Some(0), "{lines:?}");
}

#[test]
fn where_there_was_no_connection_there_are_0_endings() {
    let output = python(&["--summary"], "socket.socket().close()", 1, &[])
        .output()
        .expect("it starts");
    let (_, errors) = text(&output);
    assert!(errors.contains("0 endings;"), "{errors}");
    assert!(!errors.contains("kernel"), "{errors}");
}

#[test]
fn a_listener_is_no_ending() {
    for ends in ["l.close()", "os._exit(0)"] {
        let source = format!("l = socket.create_server(('127.0.0.1', 0)); {ends}");
        let output = python(&["--log", "-", "--summary"], &source, 1, &[])
            .output()
            .expect("it starts");
        let (lines, errors) = text(&output);
        assert_eq!(lines, "", "{ends}");
        assert!(errors.contains("0 endings;"), "{ends}: {errors}");
    }
}

#[test]
fn a_connection_attempt_that_is_refused_is_no_ending() {
    let source = "s = socket.socket(); s.setblocking(False)\n\
                  e = s.connect_ex(('127.0.0.1', port)); select.select([], [s], [], 10); s.close()";
    // Nobody listens on port 1.
    let output = python(&["--summary"], source, 1, &[])
        .output()
        .expect("it starts");
    let (_, errors) = text(&output);
    assert!(errors.contains("0 endings;"), "{errors}");
}

#[test]
fn a_quiet_close_is_written_down_from_the_kernels_notice() {
    let peer = Peer::new();
    let source = "s = connect(); s.sendall(b'x' * 100); hear(); os.close(s.detach())";
    let command = &mut python(&["--log", "-"], source, peer.port(), &[]);
    let mut talk = crate::harness::Talk::start(command);
    let stream = peer.accept();
    crate::harness::read_exactly(&stream, 100);
    talk.say("all is acknowledged");
    assert_eq!(read_all(&stream), (0, End::Eof));
    drop(stream);
    let line: Value = serde_json::from_str(&talk.hear()).expect("JSON");
    assert_eq!(line["fate"], "delivered", "{line}");
    assert_eq!(
        (line["acked"].as_u64(), line["lost"].as_u64()),
        (Some(100), Some(0))
    );
    assert_eq!(
        (line["unread"].as_u64(), &line["closed_first"]),
        (Some(0), &"local".into())
    );
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn a_program_whose_environment_was_emptied_is_warned_of_and_its_loss_counted() {
    // The program executes itself again without an environment, and so without the shim.
    let source = "if len(sys.argv) < 3:\n  command = open('/proc/self/cmdline').read().split(chr(0))[:-1]\n  \
                  os.execve(sys.executable, command + ['again'], {})\n\
                  s = connect(); unread(s); big(s); hear(); os.kill(os.getpid(), 9)";
    let peer = Peer::new();
    let mut child = python(&["--summary"], source, peer.port(), &[])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stream = peer.accept_and_send();
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let warning = lines.next().expect("a warning").expect("text");
    assert!(
        warning.contains("has TCP sockets, but not the shim"),
        "{warning}"
    );
    // By then its connection is followed.
    writeln!(child.stdin.as_ref().expect("piped"), "end").expect("it reads");
    assert_eq!(read_all(&stream).1, End::Reset);
    let summary = lines.next().expect("a summary").expect("text");
    assert!(child.wait().expect("ours").code() == Some(137), "{summary}");
    assert!(!summary.contains("0 endings"), "{summary}");
    let words =
        "1 connection left to the kernel (its program is not covered: 1); bytes lost there: ";
    assert!(summary.contains(words), "{summary}");
    assert!(!summary.contains("lost there: 0"), "{summary}");
}

#[test]
fn a_child_that_ends_beside_its_parents_close_makes_no_second_line() {
    let rounds = 30;
    let source = "for _ in range(int(sys.argv[2])):\n  \
                  s = connect(); s.setblocking(False); linger(s, 2); unread(s); s.send(b'x' * 20000); child = os.fork()\n  \
                  if not child: os._exit(0)\n  \
                  time.sleep(random.random() / 50); os.close(s.detach()); say('closed'); os.waitpid(child, 0); hear()";
    let source = format!("import random\n{source}");
    let log = log_file("twice");
    let peer = Peer::new();
    let options = ["--log", log.to_str().expect("text")];
    let arguments = [rounds.to_string()];
    let mut command = python(&options, &source, peer.port(), &[&arguments[0]]);
    let mut talk = crate::harness::Talk::start(&mut command);
    for _ in 0..rounds {
        let stream = peer.accept_and_send();
        assert_eq!(talk.hear(), "closed");
        assert_eq!(read_all(&stream), (20_000, End::Eof));
        drop(stream);
        talk.say("next");
    }
    assert_eq!(talk.finish().0, 0);
    let text = std::fs::read_to_string(&log).expect("a log");
    std::fs::remove_file(&log).expect("ours");
    assert_eq!(text.lines().count(), rounds, "{text}");
}

/// Packets, as a raw socket sees them: a program with `--summary` and `--log` beside the
/// same program without.
#[test]
fn observing_a_run_changes_no_packet() {
    need("python3", "python3");
    need("unshare", "util-linux");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run/programs/observed.py");
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("python3")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_lastbyte"))
        .env_remove("LD_PRELOAD")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&stderr);
    if errors.contains("unshare failed") {
        lastbyte_testkit::ignore("no private network namespace to play in");
    }
    let output = String::from_utf8_lossy(&stdout);
    assert!(status.success(), "{output}{errors}");
    assert_eq!(
        output
            .lines()
            .filter(|line| line.starts_with("same "))
            .count(),
        15
    );
}
