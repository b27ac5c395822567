//! Where a program may call close, and what it must find afterwards.

use std::io::Write;
use std::process::{Command, Stdio};

use lastbyte_testkit::need;

use crate::harness::{End, Peer, Talk, compile, is_open, python, read_all, under};

const BIG: usize = 300_000;

#[test]
fn close_in_a_signal_handler() {
    let program = compile("handler", &[]);
    let peer = Peer::new();
    let rounds = 200;
    let arguments = [peer.port().to_string(), rounds.to_string()];
    let mut talk = Talk::start(&mut under(&["--summary"], &program, &arguments));
    for _ in 0..rounds {
        let stream = peer.accept_and_send();
        assert_eq!(read_all(&stream), (5000, End::Eof));
    }
    assert_eq!(talk.hear(), "done");
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 0, "{errors}");
    assert!(errors.contains(&format!("{rounds} endings")), "{errors}");
}

#[test]
fn close_in_a_vforked_child() {
    let program = compile("vforked", &[]);
    let peer = Peer::new();
    let mut talk = Talk::start(&mut under(&[], &program, &[peer.port().to_string()]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "child closed everything");
    assert!(is_open(&stream), "the child's copy was not the last");
    talk.say("go on");
    assert_eq!(talk.hear(), "closed");
    assert_eq!(
        read_all(&stream),
        (BIG, End::Eof),
        "the parent's was, and is ended by the contract"
    );
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn close_in_a_thread_being_cancelled() {
    let program = compile("cancelled", &[]);
    let peer = Peer::new();
    let mut talk = Talk::start(&mut under(&[], &program, &[peer.port().to_string()]));
    let _stream = peer.accept();
    // Cancelled in the middle of a wait of 2 s: joined, and the descriptor is gone.
    assert_eq!(talk.hear(), "cancelled, gone");
    // Cancelled in accept, which we wrap: the unwinding passes through.
    assert_eq!(talk.hear(), "cancelled in accept");
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn a_close_leaves_no_ghost_in_epoll() {
    let peer = Peer::new();
    let source = "e = select.epoll(); s = connect(); unread(s); e.register(s, select.EPOLLIN | select.EPOLLRDHUP)\n\
                  say(len(e.poll(10)))\n\
                  big(s); n = s.fileno(); os.close(s.detach())\n\
                  say(len(e.poll(0)), open('/proc/self/fdinfo/%d' % e.fileno()).read().count('tfd'))\n\
                  hear(); say(len(e.poll(0)))\n\
                  f = os.open('/dev/null', os.O_RDONLY); say(f == n); p = select.epoll(); e.close()";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "1", "input, before the close");
    assert_eq!(
        talk.hear(),
        "0 0",
        "no event and no registration, though the peer has read nothing"
    );
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    talk.say("the connection is over");
    assert_eq!(talk.hear(), "0");
    assert_eq!(talk.hear(), "True", "the number is free at once");
    talk.finish();
}

#[test]
fn a_close_ends_sigio() {
    let peer = Peer::new();
    let source = "import fcntl; count = [0]\n\
                  def handler(*_): count[0] += 1\n\
                  signal.signal(signal.SIGIO, handler)\n\
                  s = connect(); unread(s); big(s)\n\
                  fcntl.fcntl(s, fcntl.F_SETOWN, os.getpid())\n\
                  fcntl.fcntl(s, fcntl.F_SETFL, fcntl.fcntl(s, fcntl.F_GETFL) | os.O_ASYNC)\n\
                  os.close(s.detach()); before = count[0]; say('closed'); hear(); say(count[0] - before)";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let mut stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "closed");
    stream.write_all(b"more").expect("the connection takes it");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    talk.say("the connection is over");
    assert_eq!(talk.hear(), "0", "no signal after the close");
    talk.finish();
}

#[test]
fn a_shared_epoll_set_keeps_what_the_parent_still_has() {
    let peer = Peer::new();
    let source = "e = select.epoll(); s = connect(); unread(s); e.register(s, select.EPOLLIN)\n\
                  child = os.fork()\n\
                  if not child:\n  big(s); os.close(s.detach()); os._exit(0)\n\
                  os.waitpid(child, 0); say(len(e.poll(0)))\n\
                  os.close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "1", "the child's close is not the parent's");
    drop(stream);
    talk.finish();
}

#[test]
fn a_program_without_free_descriptors() {
    let peer = Peer::new();
    let source = "import resource\n\
                  s = connect(); unread(s); linger(s, 1); resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\n\
                  full = []\n\
                  try:\n  while True: full.append(os.dup(0))\n\
                  except OSError as error: say(error.errno)\n\
                  s.setblocking(False)\n\
                  try:\n  while True: s.send(b'x' * 65536)\n\
                  except BlockingIOError: s.setblocking(True)\n\
                  close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let _stream = peer.accept_and_send();
    assert_eq!(talk.hear(), libc::EMFILE.to_string());
    let line = talk.hear();
    assert!(
        line.starts_with("close Resource temporarily unavailable "),
        "{line}"
    );
    talk.finish();
}

#[test]
fn a_program_that_closes_every_number_and_takes_ours() {
    // A daemon's habit, and then dup2 onto each number.
    let peer = Peer::new();
    let source = "for fd in range(3, 1100):\n\
                  \x20 try: os.close(fd); fd < 900 or say('closed', fd)\n\
                  \x20 except OSError: pass\n\
                  for fd in range(990, 1030): assert os.dup2(0, fd) == fd\n\
                  for fd in range(990, 1030): assert os.fstat(fd).st_ino == os.fstat(0).st_ino\n\
                  s = connect(); unread(s); big(s); os.close(s.detach())\n\
                  os.execvp('python3', ['python3', '-c', sys.argv[2], sys.argv[1]])";
    let again = "import select, socket, sys\n\
                 s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
                 select.select([s], [], []); s.sendall(b'x' * 300000); s.close()";
    let talk = Talk::start(&mut python(&[], source, peer.port(), &[again]));
    for _ in 0..2 {
        let stream = peer.accept_and_send();
        assert_eq!(read_all(&stream), (BIG, End::Eof));
    }
    let (status, output, errors) = talk.finish();
    assert_eq!((status, output.as_str()), (0, ""), "{errors}");
}

#[test]
fn no_descriptor_is_leaked() {
    let peer = Peer::new();
    let source = "def count(): return len(os.listdir('/proc/self/fd'))\n\
                  before = count()\n\
                  for i in range(50):\n\
                  \x20 s = connect(); unread(s); linger(s, 5); s.sendall(b'12345'); os.close(s.detach())\n\
                  say(count() - before)";
    let mut talk = Talk::start(&mut python(&["--summary"], source, peer.port(), &[]));
    for _ in 0..50 {
        assert_eq!(read_all(&peer.accept_and_send()), (5, End::Eof));
    }
    assert_eq!(talk.hear(), "0");
    let (_, _, errors) = talk.finish();
    assert!(errors.contains("50 endings: 50 delivered"), "{errors}");
}

#[test]
fn if_the_supervisor_dies_the_program_goes_on_with_plain_close() {
    let peer = Peer::new();
    let source = "s = connect(); t = connect(); linger(t, 1); big(t, 100000); hear()\n\
                  s.sendall(b'12345'); close(s.detach()); close(t.detach()); say('alive')";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let (first, _second) = (peer.accept(), peer.accept());
    talk.child.kill().expect("our own child");
    // Gone, not going: what is handed over to one that dies has an error.
    talk.child.wait().expect("our own child");
    talk.say("go on");
    assert!(talk.hear().starts_with("close ok"));
    // The kernel's own wait: the time runs out and close says nothing of it.
    assert!(talk.hear().starts_with("close ok "));
    assert_eq!(talk.hear(), "alive");
    assert_eq!(read_all(&first), (5, End::Eof));
}

#[test]
fn if_the_supervisor_dies_during_a_wait_the_close_returns() {
    let peer = Peer::new();
    let source = "s = connect(); linger(s, 1000)\n\
                  s.setblocking(False)\n\
                  try:\n  while True: s.send(b'x' * 65536)\n\
                  except BlockingIOError: s.setblocking(True)\n\
                  say(os.getpid()); close(s.detach()); say('alive')";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let _stream = peer.accept();
    let program = talk.hear();
    let is_waiting = || {
        std::fs::read_to_string(format!("/proc/{program}/wchan"))
            .is_ok_and(|place| place.contains("futex"))
    };
    let until = std::time::Instant::now() + crate::harness::LONG;
    while !is_waiting() {
        assert!(
            std::time::Instant::now() < until,
            "the close does not wait for an answer"
        );
        std::thread::yield_now();
    }
    talk.child.kill().expect("our own child");
    // Nobody can say whether anything was delivered.
    let line = talk.hear();
    assert!(line.starts_with("close Input/output error"), "{line}");
    assert_eq!(talk.hear(), "alive");
}

/// The system calls of a close, by strace.
fn calls_of_closing(make: &str) -> Vec<String> {
    let source = format!(
        "import ctypes; libc = ctypes.CDLL(None)\n{make}\n\
         libc.access(b'/begin', 0); libc.close(fd); libc.access(b'/end', 0)"
    );
    need("strace", "strace");
    let mut command = Command::new("strace");
    let inner = python(&[], &source, 1, &[]);
    command
        .args(["-f", "-qq", "-e", "signal=none"])
        .arg(inner.get_program())
        .args(inner.get_args());
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines
        .iter()
        .position(|line| line.contains("\"/begin\""))
        .expect("it began");
    let end = lines
        .iter()
        .position(|line| line.contains("\"/end\""))
        .expect("it ended");
    let program = lines[begin].split(' ').nth(1).map(str::to_owned);
    lines[begin + 1..end]
        .iter()
        .filter(|line| line.split(' ').nth(1).map(str::to_owned) == program)
        // The rest of a call that another process's came between.
        .filter(|line| !line.contains("<... "))
        .map(|line| (*line).to_owned())
        .collect()
}

#[test]
fn descriptors_that_are_no_tcp_socket_cost_one_cheap_check_at_most() {
    for (make, most) in [
        ("fd = os.open('/dev/null', os.O_RDONLY)", 2),
        ("fd = os.pipe()[0]", 2),
        ("fd = socket.socketpair()[0].detach()", 2),
        // Known since it was made: looked at only to see whose memory this is.
        (
            "fd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()",
            2,
        ),
        ("fd = socket.socket(socket.AF_UNIX).detach()", 2),
        ("fd = select.epoll().fileno()", 2),
    ] {
        let calls = calls_of_closing(make);
        assert!(
            calls.last().is_some_and(|call| call.contains("close(")),
            "{make}: {calls:#?}"
        );
        assert!(calls.len() <= most, "{make}: {calls:#?}");
    }
}

#[test]
fn a_crash_after_the_close_loses_nothing() {
    let peer = Peer::new();
    let source = "s = connect(); unread(s); big(s); os.close(s.detach()); say('closed'); os.kill(os.getpid(), 9)";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "closed");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    assert_eq!(talk.finish().0, 128 + libc::SIGKILL);
}

#[test]
fn a_program_under_seccomp_goes_on_with_plain_close() {
    // Strict mode: read, write, _exit and sigreturn are all that is left; a getsockopt
    // of ours in close would be the program's death. (exit_group is not allowed.)
    let peer = Peer::new();
    let source = "import ctypes; libc = ctypes.CDLL(None)\n\
                  s = connect(); say('strict')\n\
                  libc.prctl(22, 1, 0, 0, 0)\n\
                  os.write(1, b'alive\\n'); libc.syscall(60, 7)";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let _stream = peer.accept();
    assert_eq!(talk.hear(), "strict");
    assert_eq!(talk.hear(), "alive");
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 7, "{errors}");
    assert!(errors.contains("forbids itself system calls"), "{errors}");
}

#[test]
fn no_hook_makes_a_system_call_of_its_own_under_seccomp() {
    // The filter ends the process for what the shim asks the kernel, none of which the
    // program needs: getpid, getppid, getsockopt, sendmsg, epoll_ctl. vsftpd has such a
    // one. Each hook that takes note of something is called, and the child of a fork too.
    let peer = Peer::new();
    let source = r"
import ctypes, fcntl, platform
libc = ctypes.CDLL(None)
forbidden = {'x86_64': [39, 110, 55, 46, 233], 'aarch64': [172, 173, 209, 211, 21]}[platform.machine()]
rules = [(0x20, 0, 0, 0)]
rules += [(0x15, len(forbidden) - index, 0, number) for index, number in enumerate(forbidden)]
rules += [(6, 0, 0, 0x7fff0000), (6, 0, 0, 0x80000000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *rule) for rule in rules))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(rules), ctypes.addressof(code)))
before = connect(); say('ready')
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()
s = socket.socket(); s.connect(l.getsockname()); a, _ = l.accept()
copy = os.dup(a.fileno()); os.dup2(s.fileno(), copy); os.set_inheritable(copy, False)
fcntl.fcntl(copy, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
a.sendall(b'x'); a.shutdown(socket.SHUT_WR); s.shutdown(socket.SHUT_RDWR)
os.close(copy); os.close(a.detach()); libc.close_range(s.fileno(), s.detach(), 0); before.close()
if not (child := os.fork()):
    socket.socket().close(); os._exit(0)
assert os.waitpid(child, 0)[1] == 0
say('alive'); os._exit(7)";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let _stream = peer.accept();
    assert_eq!(talk.hear(), "ready");
    assert_eq!(talk.hear(), "alive");
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 7, "{errors}");
    assert!(errors.contains("forbids itself system calls"), "{errors}");
}

#[test]
fn a_supervisor_that_is_full_leaves_closes_to_the_kernel() {
    let peer = Peer::new();
    let count = 60;
    let source = "kept = []\n\
                  for i in range(60):\n  s = connect(); big(s, 20000); os.close(s.detach()); say(i)";
    let inner = python(&["--summary"], source, peer.port(), &[]);
    let mut command = Command::new("prlimit");
    command
        .arg("--nofile=40:40")
        .arg(inner.get_program())
        .args(inner.get_args());
    let mut talk = Talk::start(&mut command);
    let mut streams = Vec::new();
    for index in 0..count {
        streams.push(peer.accept());
        assert_eq!(talk.hear(), index.to_string());
    }
    for stream in streams {
        assert_eq!(read_all(&stream), (20000, End::Eof), "none is lost");
    }
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 0, "{errors}");
    assert!(
        errors.contains("connections are being ended, and there are descriptors for no more"),
        "{errors}"
    );
}
