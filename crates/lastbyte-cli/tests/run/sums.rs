//! Ten thousand endings of every kind: the log says what the peers counted.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::{Mutex, mpsc};
use std::thread;

use serde_json::Value;

use crate::harness::{End, Peer, python, read_all, scratch};

const COUNT: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Off,
    OffUnread,
    Wait,
    Abort,
    TimesOut,
    PeerResets,
}

fn kind(index: usize) -> Kind {
    match index % 50 {
        48 => Kind::TimesOut,
        49 => Kind::PeerResets,
        n => [Kind::Off, Kind::OffUnread, Kind::Wait, Kind::Abort][n % 4],
    }
}

/// The same division as `kind`. A line is printed when a connection's bytes are at
/// rest (all that was transmitted is acknowledged) and it is the peer's turn.
const PROGRAM: &str = r#"
import fcntl
SIOCOUTQ, SIOCOUTQNSD = 0x5411, 0x894B
def queue(s, which):
    return struct.unpack('i', fcntl.ioctl(s, which, bytes(4)))[0]
def rest(s):
    while queue(s, SIOCOUTQ) != queue(s, SIOCOUTQNSD): pass
def fill(s):
    s.setblocking(False); total = 0
    try:
        while True: total += s.send(b'x' * 65536)
    except BlockingIOError:
        rest(s)
        return total
sent = 0
for i in range(int(sys.argv[2])):
    n = i % 50
    s = connect()
    if n == 48 or n == 49:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        linger(s, 2 if n == 48 else 60)
        sent += fill(s)
        os.close(s.detach()); say(i)
        continue
    size = 100 + i % 900
    if n % 4 == 1: unread(s)
    if n % 4 == 2: linger(s, 30)
    if n % 4 == 3: linger(s, 0)
    s.sendall(b'x' * size); sent += size
    if n % 4 == 3:
        rest(s)
    os.close(s.detach())
say('sent', sent)
"#;

/// What the peers saw.
#[derive(Default)]
struct Seen {
    bytes: u64,
    ends: HashMap<(Kind, End), usize>,
}

fn unread(stream: &TcpStream) -> u64 {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    assert_eq!(result, 0);
    u64::try_from(count).expect("a count")
}

fn reset(stream: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: a plain option of that size.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of_val(&linger) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
    drop(stream);
}

#[test]
fn the_log_says_what_the_peers_counted() {
    let log = scratch().join(format!("sums-{}", std::process::id()));
    let _ = fs::remove_file(&log);
    let peer = Peer::new();
    let options = ["--log", log.to_str().expect("text"), "--summary"];
    let mut child = python(&options, PROGRAM, peer.port(), &[&COUNT.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();

    let seen = Mutex::new(Seen::default());
    let (work, queue) = mpsc::channel::<(Kind, TcpStream)>();
    let queue = Mutex::new(queue);
    let parked = Mutex::new(HashMap::new());
    let (parking, parked_one) = mpsc::channel();
    let mut sent = 0;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic").recv();
                    let Ok((kind, stream)) = next else { break };
                    let (bytes, end) = read_all(&stream);
                    drop(stream);
                    let mut seen = seen.lock().expect("no panic");
                    seen.bytes += bytes as u64;
                    *seen.ends.entry((kind, end)).or_default() += 1;
                }
            });
        }
        let (peer, parked) = (&peer, &parked);
        let worker = work.clone();
        scope.spawn(move || {
            for index in 0..COUNT {
                let kind = kind(index);
                let stream = if kind == Kind::OffUnread {
                    peer.accept_and_send()
                } else {
                    peer.accept()
                };
                if matches!(kind, Kind::TimesOut | Kind::PeerResets) {
                    parked.lock().expect("no panic").insert(index, stream);
                    parking.send(index).expect("the reader lives");
                } else {
                    worker.send((kind, stream)).expect("the workers live");
                }
            }
        });
        // Connections that nobody reads: reset when the program says so, or after
        // their time has run out.
        let mut late = Vec::new();
        for line in lines {
            let line = line.expect("text");
            if let Some(total) = line.strip_prefix("sent ") {
                sent = total.parse::<u64>().expect("a number");
                break;
            }
            let index: usize = line.parse().expect("a number");
            assert_eq!(
                parked_one.recv(),
                Ok(index),
                "accepted in the order of connecting"
            );
            let stream = parked
                .lock()
                .expect("no panic")
                .remove(&index)
                .expect("parked");
            if kind(index) == Kind::PeerResets {
                let mut seen = seen.lock().expect("no panic");
                seen.bytes += unread(&stream);
                *seen.ends.entry((Kind::PeerResets, End::Reset)).or_default() += 1;
                reset(stream);
            } else {
                late.push(stream);
            }
        }
        // Exits after the last deadline, so every time has run out by then.
        let output = child.wait_with_output().expect("our child");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for stream in late {
            work.send((Kind::TimesOut, stream))
                .expect("the workers live");
        }
        drop(work);
    });
    let seen = seen.into_inner().expect("no panic");

    let expected = |wanted: Kind| (0..COUNT).filter(|index| kind(*index) == wanted).count();
    for (kind, end) in [
        (Kind::Off, End::Eof),
        (Kind::OffUnread, End::Eof),
        (Kind::Wait, End::Eof),
        (Kind::Abort, End::Reset),
        (Kind::TimesOut, End::Reset),
        (Kind::PeerResets, End::Reset),
    ] {
        assert_eq!(
            seen.ends.get(&(kind, end)),
            Some(&expected(kind)),
            "{kind:?}: {:?}",
            seen.ends
        );
    }

    let text = fs::read_to_string(&log).expect("a log");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), COUNT);
    let sum = |field: &str| -> u64 {
        lines
            .iter()
            .map(|line| {
                line[field]
                    .as_u64()
                    .unwrap_or_else(|| panic!("{field}: {line}"))
            })
            .sum()
    };
    assert_eq!(
        sum("acked"),
        seen.bytes,
        "acknowledged is what the peers have got"
    );
    assert_eq!(
        sum("acked") + sum("lost"),
        sent,
        "every byte sent is one or the other"
    );
    assert_eq!(sum("unread"), 1000 * expected(Kind::OffUnread) as u64);
    let fates = |wanted: &[&str]| {
        lines
            .iter()
            .filter(|line| wanted.contains(&line["fate"].as_str().expect("text")))
            .count()
    };
    assert_eq!(fates(&["aborted"]), expected(Kind::Abort));
    assert_eq!(fates(&["timed_out"]), expected(Kind::TimesOut));
    assert_eq!(fates(&["reset"]), expected(Kind::PeerResets));
    assert_eq!(
        fates(&["delivered", "confirmed"]),
        expected(Kind::Off) + expected(Kind::OffUnread) + expected(Kind::Wait)
    );
    fs::remove_file(log).expect("ours");
}
