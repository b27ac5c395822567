//! The manner of a close: when the FIN leaves, what else goes on meanwhile, how long
//! it may take, and what of the connection's life before it counts.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use lastbyte_testkit::need_root;

use crate::harness::{
    End, LONG, Peer, Talk, compile, is_open, plain_python, python, read_all, read_exactly, text,
    under,
};

const BIG: usize = 300_000;

/// The supervisor does not run while this lives.
pub(crate) struct Stopped(libc::pid_t);

impl Stopped {
    pub(crate) fn new(talk: &Talk) -> Self {
        let pid = libc::pid_t::try_from(talk.child.id()).expect("a pid");
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: as above; it has not been waited for.
        unsafe { libc::kill(self.0, libc::SIGCONT) };
    }
}

#[test]
fn the_fin_leaves_inside_close() {
    // With a supervisor that does not run, nobody else can have sent it.
    for before in ["", "unread(s);", "linger(s, 1); s.setblocking(False);"] {
        let peer = Peer::new();
        let source =
            format!("s = connect(); {before} big(s, 20000); say('go'); hear(); close(s.detach())");
        let source = source.replace(
            "s.setblocking(False); big(s, 20000)",
            "big(s, 20000); s.setblocking(False)",
        );
        let mut talk = Talk::start(&mut python(&[], &source, peer.port(), &[]));
        let stream = if before.starts_with("unread") {
            peer.accept_and_send()
        } else {
            peer.accept()
        };
        assert_eq!(talk.hear(), "go");
        let stopped = Stopped::new(&talk);
        talk.say("close");
        assert!(talk.hear().starts_with("close ok "));
        assert_eq!(read_all(&stream), (20_000, End::Eof), "{before}");
        drop(stopped);
        drop(stream);
        assert_eq!(talk.finish().0, 0);
    }
}

#[test]
fn a_wait_is_over_in_time_although_the_supervisor_does_not_run() {
    let peer = Peer::new();
    let source = "s = connect(); linger(s, 1); big(s); say('go'); hear(); close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept();
    assert_eq!(talk.hear(), "go");
    let stopped = Stopped::new(&talk);
    let pid = stopped.0;
    // What hangs without a bound of its own comes back late.
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(20));
        // SAFETY: no memory involved.
        unsafe { libc::kill(pid, libc::SIGCONT) };
    });
    talk.say("close");
    let line = talk.hear();
    let time: f64 = line
        .strip_prefix("close Resource temporarily unavailable ")
        .and_then(|time| time.parse().ok())
        .unwrap_or_else(|| panic!("success would say that all was acknowledged: {line}"));
    assert!((1.0..15.0).contains(&time), "{line}");
    // What is queued is still delivered, until the supervisor goes on.
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stopped);
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn a_close_goes_on_without_an_answer_about_holders() {
    let peer = Peer::new();
    let source = "s = connect(); unread(s); child = os.fork()\n\
                  if not child: os._exit(0)\n\
                  os.waitpid(child, 0); big(s); say('go'); hear(); close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "go");
    let stopped = Stopped::new(&talk);
    talk.say("close");
    assert!(talk.hear().starts_with("close ok "));
    assert_eq!(read_all(&stream).1, End::Reset, "the kernel's close");
    drop(stopped);
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn a_send_in_another_thread_finishes() {
    let program = compile("sending", &[]);
    for size in [1_usize, 8 << 20] {
        let peer = Peer::new();
        let arguments = [peer.port().to_string(), size.to_string()];
        let mut talk = Talk::start(&mut under(&[], &program, &arguments));
        let stream = peer.accept();
        let line = talk.hear();
        let filled: usize = line
            .strip_prefix("closed 0 ")
            .and_then(|filled| filled.parse().ok())
            .unwrap_or_else(|| panic!("{line}"));
        assert_eq!(read_all(&stream), (filled + size, End::Eof));
        drop(stream);
        let (status, rest, errors) = talk.finish();
        assert_eq!(rest, format!("sent {size} ok\n"), "{errors}");
        assert_eq!(status, 0, "{errors}");
    }
}

/// Two processes hold the connection and let go as `child` and `parent` say, at once.
fn let_go_together(parent: &str, child: &str) {
    let peer = Peer::new();
    let source = format!(
        "import mmap; go = mmap.mmap(-1, 4096)\n\
         def meet(mine, other):\n\
         \x20 go[mine] = 1\n\
         \x20 while not go[other]: pass\n\
         for i in range(30):\n\
         \x20 go[0] = go[1] = 0; s = connect(); unread(s); big(s, 100000)\n\
         \x20 child = os.fork()\n\
         \x20 if not child:\n\
         \x20   meet(0, 1); time.sleep(i % 3 * 2e-5)\n\
         \x20   {child}\n\
         \x20   os._exit(0)\n\
         \x20 meet(1, 0); {parent}; os.waitpid(child, 0)"
    );
    let mut talk = Talk::start(&mut python(&[], &source, peer.port(), &[]));
    for round in 0..30 {
        let stream = peer.accept_and_send();
        // Nothing is read before one of them has closed, so that the kernel would reset.
        assert_eq!(
            read_all_late(&stream),
            (100_000, End::Eof),
            "round {round}: {parent}, {child}"
        );
    }
    assert_eq!(talk.child.wait().expect("our child").code(), Some(0));
}

/// Reads once the other side's FIN or RST can be there.
fn read_all_late(stream: &TcpStream) -> (usize, End) {
    std::thread::sleep(Duration::from_millis(20));
    read_all(stream)
}

#[test]
fn of_two_that_let_go_at_once_one_ends_the_connection() {
    let_go_together("os.close(s.detach())", "os.close(s.detach())");
    let_go_together("os.close(s.detach())", "sys.exit(0)");
}

/// How long the peer can go on sending after the close of a connection on which
/// nothing was sent.
fn sends_on(command: &mut Command, peer: &Peer) -> Duration {
    let mut talk = Talk::start(command);
    let mut stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "closed");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        match stream.write_all(b"x") {
            Ok(()) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => {
                let told = matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                );
                assert!(told, "{error}");
                break;
            }
        }
    }
    drop(stream);
    let time = began.elapsed();
    talk.finish();
    time
}

#[test]
fn a_peer_is_told_that_nobody_reads_also_after_the_programs_own_fin() {
    for shutdown in ["", "s.shutdown(socket.SHUT_WR);"] {
        let source =
            format!("s = connect(); unread(s); {shutdown} os.close(s.detach()); say('closed')");
        let peer = Peer::new();
        let alone = sends_on(&mut plain_python(&source, peer.port()), &peer);
        for options in [&[][..], &["--summary"]] {
            let time = sends_on(&mut python(options, &source, peer.port(), &[]), &peer);
            assert!(
                time < alone + Duration::from_secs(4),
                "{shutdown} {options:?}: {time:?}, by the kernel {alone:?}"
            );
        }
    }
}

/// What the peer reads that sends on after both directions were shut.
fn late_input(command: &mut Command, peer: &Peer) -> (usize, End) {
    let mut talk = Talk::start(command);
    let mut stream = peer.accept();
    assert_eq!(talk.hear(), "shut");
    // In one call: a second would take the error of the kernel's RST off the socket.
    stream.write_all(&[b'l'; 9000]).expect("it is open");
    talk.say("close");
    assert_eq!(talk.hear(), "closed");
    // The RST of the kernel's, if there is one, has come: loopback delivers at once.
    let read = read_all(&stream);
    drop(stream);
    assert_eq!(talk.finish().0, 0);
    read
}

#[test]
fn a_connection_whose_sides_are_both_shut_survives_late_input() {
    for shut in [
        "s.shutdown(socket.SHUT_RDWR)",
        "s.shutdown(socket.SHUT_RD); s.shutdown(socket.SHUT_WR)",
        "s.shutdown(socket.SHUT_WR); s.shutdown(socket.SHUT_RD)",
        "import ctypes; ctypes.CDLL(None).syscall(48, s.fileno(), 2)",
    ] {
        let source = format!(
            "s = connect(); big(s); {shut}; say('shut'); hear(); os.close(s.detach()); say('closed')"
        );
        let peer = Peer::new();
        let alone = late_input(&mut plain_python(&source, peer.port()), &peer);
        assert_eq!(alone.1, End::Reset, "{shut}, by the kernel");
        let read = late_input(&mut python(&[], &source, peer.port(), &[]), &peer);
        assert_eq!(read, (BIG, End::Eof), "{shut}");
    }
}

#[test]
fn a_read_side_shut_before_the_close_is_no_reason_to_reset() {
    let source =
        "s = connect(); big(s); s.shutdown(socket.SHUT_RD); os.close(s.detach()); say('closed')";
    let peer = Peer::new();
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let mut stream = peer.accept();
    assert_eq!(talk.hear(), "closed");
    stream.write_all(&[b'l'; 3000]).expect("it is open");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn the_programs_filters_are_as_without_us() {
    let source = r"
import ctypes
def filters(s):
    try: length = len(s.getsockopt(socket.SOL_SOCKET, 26, 64))
    except OSError as error: length = error.errno
    return length
def attach(s, code):
    program = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, code))
    try: s.setsockopt(socket.SOL_SOCKET, 26, struct.pack('HxxxxxxP', 1, ctypes.addressof(program))); return 'attached'
    except OSError as error: return error.errno
def detach(s):
    try: s.setsockopt(socket.SOL_SOCKET, 27, struct.pack('i', 0)); return 'detached'
    except OSError as error: return error.errno
for own_first in (False, True):
    s = connect(); s.sendall(b'x' * 100000)
    if own_first: say(attach(s, 0xffffffff))
    s.shutdown(socket.SHUT_RDWR)
    say(filters(s), detach(s), attach(s, 0x7fffffff), filters(s), detach(s), detach(s))
    s.setsockopt(socket.SOL_SOCKET, 44, struct.pack('i', 1))
    say(attach(s, 0xffffffff), detach(s), filters(s))
";
    let seen = |mut command: Command, peer: &Peer| {
        let mut talk = Talk::start(&mut command);
        let streams = [peer.accept(), peer.accept()];
        let (status, rest, errors) = {
            let first = talk.hear();
            let (status, rest, errors) = talk.finish();
            (status, format!("{first}\n{rest}"), errors)
        };
        drop(streams);
        assert_eq!(status, 0, "{errors}");
        rest
    };
    let peer = Peer::new();
    let alone = seen(plain_python(source, peer.port()), &peer);
    let run = seen(python(&[], source, peer.port(), &[]), &peer);
    assert_eq!(run, alone);
}

#[test]
fn a_connection_in_repair_sends_nothing_when_it_is_closed() {
    need_root();
    let peer = Peer::new();
    let source = "s = connect(); s.setsockopt(socket.IPPROTO_TCP, 19, 1); os.close(s.detach()); say('closed'); hear()";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept();
    assert_eq!(talk.hear(), "closed");
    assert!(is_open(&stream), "a FIN or an RST was sent");
    talk.say("end");
    assert!(is_open(&stream), "a FIN or an RST was sent");
    talk.finish();
}

#[test]
fn a_client_without_mptcp_of_a_server_with_it_is_covered() {
    let source = "l = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); l.bind(('127.0.0.1', 0)); l.listen()\n\
                  say(l.getsockname()[1]); s, _ = l.accept(); unread(s); big(s); os.close(s.detach()); say('closed')";
    let peer = Peer::new();
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let port: u16 = talk.hear().parse().expect("a port");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("a time");
    stream.write_all(b"unread").expect("room");
    assert_eq!(talk.hear(), "closed");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}

/// Closes a connection on which everything is acknowledged and one urgent byte of the
/// peer's is unread.
fn urgent_byte(command: &mut Command, peer: &Peer) -> (usize, End) {
    let mut talk = Talk::start(command);
    let stream = peer.accept();
    read_exactly(&stream, 5);
    // SAFETY: one byte, alive during the call.
    let sent = unsafe { libc::send(stream.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
    talk.say("close");
    assert_eq!(talk.hear(), "closed");
    let seen = read_all(&stream);
    drop(stream);
    assert_eq!(talk.finish().0, 0);
    seen
}

#[test]
fn an_urgent_byte_that_nobody_read_is_input_like_any_other() {
    let peer = Peer::new();
    let source = "s = connect(); s.sendall(b'12345'); hear()\n\
                  assert select.select([], [], [s], 30)[2]; os.close(s.detach()); say('closed')";
    let alone = urgent_byte(&mut plain_python(source, peer.port()), &peer);
    assert_eq!(alone, (0, End::Reset), "without us");
    for options in [&[][..], &["--summary"]] {
        let run = urgent_byte(&mut python(options, source, peer.port(), &[]), &peer);
        assert_eq!(run, (0, End::Eof), "{options:?}");
    }
}

#[test]
fn every_close_of_an_mptcp_connection_is_counted_once() {
    // The kernel's close, also where nothing is under way; by close, a descriptor among
    // several, a child that has it too, and exit.
    let source = "l = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); l.bind(('127.0.0.1', 0)); l.listen()\n\
                  def pair():\n  c = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)\n\
                  \x20 c.connect(l.getsockname()); return c, l.accept()[0]\n\
                  a, b = pair(); os.close(a.detach()); os.close(b.detach())\n\
                  a, b = pair(); d = os.dup(a.fileno()); os.close(a.detach()); os.close(b.detach()); os.close(d)\n\
                  a, b = pair(); child = os.fork()\n\
                  if not child: a.close(); b.close(); os._exit(0)\n\
                  os.waitpid(child, 0); a.close(); b.close()\n\
                  socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()\n\
                  c, s = pair(); d = os.dup(c.fileno()); os._exit(0)";
    let peer = Peer::new();
    let talk = Talk::start(&mut python(&["--summary"], source, peer.port(), &[]));
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 0, "{errors}");
    assert!(
        errors.contains("8 connections left to the kernel (it is MPTCP: 8)"),
        "{errors}"
    );
}

#[test]
fn processes_made_by_syscall_return_where_they_were_called() {
    // libc's own syscall() has no way back for a parent whose child used its stack.
    let program = compile("twice", &[]);
    let output = under::<&str>(&[], &program, &[]).output().expect("it runs");
    let mut expected = String::new();
    if cfg!(target_arch = "x86_64") {
        expected += "vfork: status 3, memory shared\n\
                     clone: status 4, memory shared\n\
                     clone3: status 5, memory shared\n";
    }
    expected += "clone3 without CLONE_VM: status 6, memory its own\n\
                 clone without CLONE_VM: status 7, memory its own\n\
                 a short clone3: -1 1\na NULL clone3: -1 1\n\
                 clone of what does not go together: -1 1\nother calls: 1 -1\n";
    assert_eq!(text(&output), (expected, String::new()));
}

#[test]
fn a_child_that_ends_takes_nothing_with_it() {
    // Its end gives the supervisor a reference to what the parent goes on with.
    let peer = Peer::new();
    let source = "s = connect(); unread(s); big(s, 20000)\n\
                  for i in range(20):\n\
                  \x20 child = os.fork()\n\
                  \x20 if not child: sys.exit(0)\n\
                  \x20 os.waitpid(child, 0)\n\
                  say('ended'); hear(); s.sendall(b'more'); say('sent'); hear(); os.close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "ended");
    crate::harness::read_exactly(&stream, 20_000);
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_open(&stream));
    talk.say("send");
    assert_eq!(talk.hear(), "sent");
    talk.say("close");
    assert_eq!(read_all(&stream), (4, End::Eof));
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}
