//! `--detach-endings`: the command returns with the program, the rest goes on behind.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{End, Peer, Talk, lastbyte, python, read_all, scratch, text};

const BIG: usize = 300_000;
/// Sends more than the peer takes, and exits with the connection open.
const LEAVES: &str = "s = connect(); big(s); say('sent'); sys.exit(7)";

/// A run of that program, whose standard error is kept.
fn leaving(options: &[&str], peer: &Peer) -> Command {
    let mut command = python(options, LEAVES, peer.port(), &[]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// A log that can be read to its end, which comes when nobody writes it any more.
fn pipe(name: &str) -> (PathBuf, JoinHandle<String>) {
    let path = scratch().join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let c_path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: a NUL-terminated path.
    assert_eq!(unsafe { libc::mkfifo(c_path.as_ptr(), 0o600) }, 0);
    let theirs = path.clone();
    let reader = std::thread::spawn(move || std::fs::read_to_string(theirs).expect("text"));
    (path, reader)
}

#[test]
fn the_command_returns_with_the_program_and_the_log_is_completed_later() {
    let (log, reader) = pipe("detached");
    let peer = Peer::new();
    let options = ["--detach-endings", "--log", log.to_str().expect("text")];
    let child = leaving(&options, &peer)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stream = peer.accept();
    // Its output ends too, though nobody has read a byte and the connection lives.
    let output = child.wait_with_output().expect("ours");
    let (out, errors) = text(&output);
    assert_eq!(
        (output.status.code(), out.as_str()),
        (Some(7), "sent\n"),
        "{errors}"
    );
    assert!(!reader.is_finished(), "the supervisor stays behind");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    let log = reader.join().expect("no panic");
    let line: Value = serde_json::from_str(log.trim()).expect("one line");
    assert_eq!(
        (line["lost"].as_u64(), line["acked"].as_u64()),
        (Some(0), Some(BIG as u64))
    );
}

#[test]
fn the_summary_comes_when_all_is_over() {
    let peer = Peer::new();
    let options = ["--detach-endings", "--summary"];
    let mut child = leaving(&options, &peer).spawn().expect("it starts");
    let stream = peer.accept();
    assert_eq!(child.wait().expect("ours").code(), Some(7));
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    let mut errors = String::new();
    let mut stderr = child.stderr.take().expect("piped");
    std::io::Read::read_to_string(&mut stderr, &mut errors).expect("text");
    assert!(errors.contains("1 ending: 1 "), "{errors}");
}

#[test]
fn signals_reach_the_program_and_its_status_is_the_commands() {
    let source = "def handler(*_): say('told'); sys.exit(3)\n\
                  signal.signal(signal.SIGTERM, handler); say('ready'); hear()";
    let mut talk = Talk::start(&mut python(&["--detach-endings"], source, 1, &[]));
    assert_eq!(talk.hear(), "ready");
    let pid = libc::pid_t::try_from(talk.child.id()).expect("a pid");
    // SAFETY: our own child, not waited for yet.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    assert_eq!(talk.hear(), "told");
    assert_eq!(talk.finish().0, 3);
    let mut killed = python(&["--detach-endings"], "os.kill(os.getpid(), 9)", 1, &[]);
    assert_eq!(killed.status().expect("it starts").code(), Some(137));
}

#[test]
fn what_cannot_be_run_is_the_commands_status() {
    let mut command: Command = lastbyte();
    command.args(["run", "--detach-endings", "--", "/no/such/program"]);
    assert_eq!(
        command.output().expect("it starts").status.code(),
        Some(127)
    );
}

#[test]
fn the_program_is_named_to_service_managers_as_it_would_be_without() {
    let source = "say(os.environ['LISTEN_PID'] == str(os.getpid()))";
    let script = "export LISTEN_PID=$$; exec \"$@\"";
    let inner = python(&["--detach-endings"], source, 1, &[]);
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .output()
        .expect("it starts");
    assert_eq!(text(&output).0, "True\n", "{}", text(&output).1);
}

#[test]
fn a_wait_of_seconds_says_how_long_and_why() {
    let peer = Peer::new();
    let began = Instant::now();
    let child = leaving(&["--patience", "4s"], &peer)
        .spawn()
        .expect("it starts");
    let _stream = peer.accept();
    let output = child.wait_with_output().expect("ours");
    assert!(began.elapsed() >= Duration::from_secs(4));
    let errors = text(&output).1;
    let words = "the program has ended; 1 connection is not delivered yet, which is waited for";
    assert_eq!(errors.matches(words).count(), 1, "{errors}");
    assert!(errors.contains("--detach-endings"), "{errors}");
}

#[test]
fn a_quick_wait_says_nothing() {
    let peer = Peer::new();
    let child = leaving(&[], &peer).spawn().expect("it starts");
    let stream = peer.accept();
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    let output = child.wait_with_output().expect("ours");
    assert_eq!(text(&output).1, "");
}
