//! A close before the handshake is over (TCP Fast Open, RFC 7413): what was taken by
//! send(2) arrives.
//!
//! The kernel's switch belongs to a network namespace, so each test runs in one of its
//! own. The peer is no part of the run, and hears nothing until the close is done.

use std::process::Command;

use lastbyte_testkit::{ignore, need};

use crate::harness::{lastbyte, text};

const PRELUDE: &str = r#"
import ctypes, select, socket, struct, subprocess, sys
FAST_OPEN, MSG_FASTOPEN, ATTACH, DETACH = 23, 0x20000000, 26, 27
def deafen(s):
    "Drops whatever arrives for the socket: BPF's `ret #0`."
    code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0))
    s.setsockopt(socket.SOL_SOCKET, ATTACH, struct.pack('HxxxxxxQ', 1, ctypes.addressof(code)))
def heal(s):
    s.setsockopt(socket.SOL_SOCKET, DETACH, 0)
def listener():
    l = socket.socket(); l.setsockopt(socket.IPPROTO_TCP, FAST_OPEN, 16)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    l.bind(('127.0.0.1', 0)); l.listen(); return l
def opened(port):
    c = socket.socket(); c.setblocking(False)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return c
def start(source, *arguments):
    run = sys.argv[2:] if sys.argv[1] == 'run' else []
    return subprocess.Popen(run + ['python3', '-c', PRELUDE + source, *arguments], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def read_all(s):
    s.setblocking(True); s.settimeout(20); total = 0
    try:
        while piece := s.recv(65536): total += len(piece)
        return total, 'EOF'
    except ConnectionResetError: return total, 'RST'
    except TimeoutError: return total, 'nothing more'
"#;

/// What `peer` prints, in a namespace where Fast Open is on for both sides. It starts
/// its program under `lastbyte run OPTIONS`, or plainly without any.
fn in_a_namespace(options: Option<&[&str]>, peer: &str) -> (String, String) {
    need("unshare", "util-linux");
    need("ip", "iproute2");
    need("python3", "python3");
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]);
        command
    };
    if !unshare().arg("true").status().expect("it starts").success() {
        ignore("this user can make no network namespace");
    }
    let mut command = unshare();
    command.args([
        "sh",
        "-c",
        "ip link set lo up; echo 1543 > /proc/sys/net/ipv4/tcp_fastopen; exec \"$@\"",
        "sh",
        "python3",
        "-c",
        &format!("PRELUDE = r'''{PRELUDE}'''\nexec(PRELUDE)\n{peer}"),
    ]);
    match options {
        None => command.arg("plain"),
        Some(options) => command
            .arg("run")
            .arg(lastbyte().get_program())
            .arg("run")
            .args(options)
            .arg("--"),
    };
    let output = command.output().expect("it starts");
    let (printed, errors) = text(&output);
    assert!(output.status.success(), "{printed}{errors}");
    (printed, errors)
}

/// A server writes and closes before its SYN-ACK is acknowledged; then the client sends
/// more, which nobody reads.
const SERVER: &str = r#"
server = start('''
l = listener(); print(l.getsockname()[1], flush=True)
s, _ = l.accept(); s.recv(7); s.setblocking(False); sent = 0
try:
    while True: sent += s.send(b'x' * 10000)
except BlockingIOError: pass
s.setblocking(True); s.close(); l.close(); print(sent, flush=True)
''')
port = int(server.stdout.readline())
c = opened(port); deafen(c)
c.sendto(b'request', MSG_FASTOPEN, ('127.0.0.1', port))
sent = int(server.stdout.readline())
heal(c); assert select.select([], [c], [], 20)[1]
c.send(b'more'); got, end = read_all(c); c.close(); server.wait()
print('all of it' if got == sent else 'a part', end)
"#;

/// A client's SYN carries data; it closes before anybody has heard it.
const CLIENT: &str = r#"
l = listener(); deafen(l); l.settimeout(8)
client = start('''
c = opened(0); n = c.sendto(b'q' * 500, MSG_FASTOPEN, ('127.0.0.1', int(sys.argv[1])))
c.close(); print(n, flush=True)
''', str(l.getsockname()[1]))
assert client.stdout.readline() == '500\n'
heal(l)
try: s, _ = l.accept(); print(*read_all(s)); s.close()
except TimeoutError: print('nobody came')
client.wait()
"#;

#[test]
fn a_server_that_closes_during_the_handshake_loses_nothing() {
    let (plain, _) = in_a_namespace(None, SERVER);
    assert_eq!(plain, "a part RST\n", "without us");
    for options in [&[][..], &["--summary"]] {
        let (printed, errors) = in_a_namespace(Some(options), SERVER);
        assert_eq!(printed, "all of it EOF\n", "{options:?}: {errors}");
        assert!(!errors.contains("left to the kernel"), "{errors}");
    }
}

#[test]
fn a_client_that_closes_during_the_handshake_loses_nothing() {
    let (plain, _) = in_a_namespace(None, CLIENT);
    assert_eq!(plain, "nobody came\n", "without us");
    for options in [&[][..], &["--summary"]] {
        let (printed, errors) = in_a_namespace(Some(options), CLIENT);
        assert_eq!(printed, "500 EOF\n", "{options:?}: {errors}");
        assert!(!errors.contains("left to the kernel"), "{errors}");
    }
}
