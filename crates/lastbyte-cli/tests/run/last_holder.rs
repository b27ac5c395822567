//! A deadline counts from the close that let go last, not from the end of the search for
//! other holders and not from an earlier holder's end.
//!
//! The witness is the peer: when the RST arrives, by the clock that the program prints.

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Peer, Talk, python, scratch};
use crate::manner::Stopped;

/// What a deadline may be off by.
const TOLERANCE: f64 = 0.01;

/// CLOCK_MONOTONIC in seconds, as Python's time.monotonic().
fn monotonic() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: room for a time.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    assert_eq!(result, 0);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Waits for the connection's RST without reading: when it came, if it did.
fn reset_at(stream: &TcpStream, limit: Duration) -> Option<f64> {
    let mut poll = libc::pollfd {
        fd: stream.as_raw_fd(),
        events: 0,
        revents: 0,
    };
    let milliseconds = i32::try_from(limit.as_millis()).expect("short");
    // SAFETY: one pollfd, alive during the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
    (ready == 1).then(monotonic)
}

/// Fills the connection; a child exits with it, and the parent a little later in the way
/// that `last` says, which sees `s`. It prints when.
fn source(last: &str) -> String {
    format!(
        "s = connect(); linger(s, 2); s.setblocking(False)\n\
         try:\n  while True: s.send(b'x' * 65536)\n\
         except BlockingIOError: pass\n\
         child = os.fork()\n\
         if not child: os._exit(0)\n\
         os.waitpid(child, 0); time.sleep(0.05)\n\
         say(os.getpid(), time.monotonic())\n\
         {last}"
    )
}

#[test]
fn of_two_that_exit_the_last_ones_exit_counts() {
    let log = scratch().join(format!("last-holder-{}", std::process::id()));
    let _ = std::fs::remove_file(&log);
    let options = ["--log", log.to_str().expect("text")];
    let peer = Peer::new();
    let source = source("os._exit(0)");
    let mut talk = Talk::start(&mut python(&options, &source, peer.port(), &[]));
    let stream = peer.accept();
    let line = talk.hear();
    let (pid, exit) = line.split_once(' ').expect("two words");
    let exit: f64 = exit.parse().expect("a time");
    let reset = reset_at(&stream, Duration::from_secs(20)).expect("the time runs out");
    assert!(
        reset - exit > 2.0 - TOLERANCE,
        "given up {:.3} s after the exit",
        reset - exit
    );
    drop(stream);
    assert_eq!(talk.finish().0, 0);

    let text = std::fs::read_to_string(&log).expect("a log");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &Value| line["fate"].is_string())
        .collect();
    let [ending] = &lines[..] else {
        panic!("one connection ended: {text}");
    };
    assert_eq!(ending["fate"], "timed_out");
    assert_eq!(ending["pid"].to_string(), pid);
    std::fs::remove_file(log).expect("ours");
}

/// Nobody hears of a death by a signal. Either the supervisor finds the connection that
/// the child sent held by nobody, and gives it its whole time; or it was not looked at in
/// time, and the kernel's close goes on.
#[test]
fn after_a_death_no_time_is_cut_short() {
    let peer = Peer::new();
    let source = source("os.kill(os.getpid(), signal.SIGKILL)");
    let mut talk = Talk::start(&mut python(&[], &source, peer.port(), &[]));
    let stream = peer.accept();
    let line = talk.hear();
    let death: f64 = line
        .split_once(' ')
        .and_then(|(_, time)| time.parse().ok())
        .expect("a time");
    let reset = reset_at(&stream, Duration::from_secs(4));
    if let Some(reset) = reset {
        assert!(
            reset - death > 2.0 - TOLERANCE,
            "given up {:.3} s after the death",
            reset - death
        );
    }
    drop(stream);
    assert_eq!(talk.finish().0, 128 + libc::SIGKILL);
}

/// A child has had the connection, so the supervisor is asked who holds it; stopped, it
/// does not answer for a while.
#[test]
fn the_search_for_holders_is_part_of_the_time() {
    let peer = Peer::new();
    let mut talk = Talk::start(&mut python(
        &[],
        "s = connect(); linger(s, 2); s.setblocking(False)\n\
         try:\n  while True: s.send(b'x' * 65536)\n\
         except BlockingIOError: pass\n\
         child = os.fork()\n\
         if not child: os.close(s.detach()); os._exit(0)\n\
         os.waitpid(child, 0); say('ready'); hear()\n\
         say(time.monotonic()); os.close(s.detach()); hear()",
        peer.port(),
        &[],
    ));
    let stream = peer.accept();
    assert_eq!(talk.hear(), "ready");
    let stopped = Stopped::new(&talk);
    talk.say("close it");
    let close: f64 = talk.hear().parse().expect("a time");
    std::thread::sleep(Duration::from_millis(1500));
    drop(stopped);
    let reset = reset_at(&stream, Duration::from_secs(20)).expect("the time runs out");
    let after = reset - close;
    assert!(after > 2.0 - TOLERANCE, "given up after {after:.3} s");
    // Counted from the answer it would be 3.5 s.
    assert!(after < 3.0, "given up after {after:.3} s");
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}
