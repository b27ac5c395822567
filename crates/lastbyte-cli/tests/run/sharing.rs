//! Only the last reference ends a connection.
//!
//! The probe throughout: the peer's input is unread when the program closes. The
//! kernel's close then resets and loses what was sent; the contract's delivers it.
//! And as long as somebody else holds the connection, nothing ends it.

use std::io::Write;
use std::thread;

use crate::harness::{
    End, Peer, Talk, compile, is_open, python, read_all, read_exactly, scratch, under,
};

const BIG: usize = 300_000;

/// Runs `source`, which prints "closed" after closes that must not end the
/// connection, reads a line, and then closes the last reference.
fn ends_with_the_last(source: &str) {
    let peer = Peer::new();
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "closed");
    assert!(
        is_open(&stream),
        "a close of another reference has ended it"
    );
    talk.say("go on");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 0, "{errors}");
}

#[test]
fn dup() {
    ends_with_the_last(
        "s = connect(); unread(s); d = os.dup(s.fileno()); os.close(s.detach()); say('closed')\n\
         hear(); t = socket.socket(fileno=d); big(t); os.close(t.detach())",
    );
}

#[test]
fn dup2_and_f_dupfd() {
    ends_with_the_last(
        "import fcntl\n\
         s = connect(); unread(s); os.dup2(s.fileno(), 77); d = fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 80)\n\
         os.close(s.detach()); os.close(77); say('closed')\n\
         hear(); t = socket.socket(fileno=d); big(t); os.close(t.detach())",
    );
}

#[test]
fn a_server_that_forks_and_closes_its_copy() {
    ends_with_the_last(
        "s = connect(); unread(s)\n\
         child = os.fork()\n\
         if child:\n  os.close(s.detach()); say('closed'); sys.exit(os.waitpid(child, 0)[1])\n\
         hear(); big(s); os.close(s.detach()); os._exit(0)",
    );
}

#[test]
fn a_child_that_closes_its_copy() {
    ends_with_the_last(
        "s = connect(); unread(s)\n\
         child = os.fork()\n\
         if not child:\n  os.close(s.detach()); os._exit(0)\n\
         os.waitpid(child, 0); say('closed')\n\
         hear(); big(s); os.close(s.detach())",
    );
}

#[test]
fn a_child_that_exits_with_its_copy() {
    ends_with_the_last(
        "s = connect(); unread(s)\n\
         child = os.fork()\n\
         if not child:\n  sys.exit(0)\n\
         os.waitpid(child, 0); say('closed')\n\
         hear(); big(s); os.close(s.detach())",
    );
}

#[test]
fn a_grandchild_whose_parent_is_gone() {
    ends_with_the_last(
        "s = connect(); unread(s); r, w = os.pipe()\n\
         child = os.fork()\n\
         if not child:\n\
         \x20 if os.fork(): os._exit(0)\n\
         \x20 os.read(r, 1); big(s); os.close(s.detach()); os._exit(0)\n\
         os.waitpid(child, 0); os.close(s.detach()); say('closed'); hear(); os.write(w, b'x')",
    );
}

#[test]
fn subprocess_with_the_socket_as_its_output() {
    // vfork and dup2 in CPython; a close-on-exec socket becomes another's stdout.
    let peer = Peer::new();
    let source = "s = connect(); unread(s)\n\
                  p = subprocess.Popen(['sh', '-c', 'read x; echo 12345'], stdin=subprocess.PIPE, stdout=s)\n\
                  os.close(s.detach()); say('closed'); hear(); p.communicate(b'go\\n')";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "closed");
    assert!(is_open(&stream));
    talk.say("go on");
    read_exactly(&stream, 6);
    talk.finish();
}

#[test]
fn posix_spawn_with_the_socket_as_its_output() {
    let peer = Peer::new();
    let source = "s = connect(); unread(s)\n\
                  os.posix_spawn('/bin/sh', ['sh', '-c', 'read x; echo 12345'], os.environ,\n\
                  \x20   file_actions=[(os.POSIX_SPAWN_DUP2, s.fileno(), 1)])\n\
                  os.close(s.detach()); say('closed')";
    let mut talk = Talk::start(&mut python(&["--follow"], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "closed");
    assert!(is_open(&stream));
    talk.say("go on");
    read_exactly(&stream, 6);
    talk.finish();
}

#[test]
fn spawned_children_keep_what_is_not_close_on_exec() {
    for spawn in [
        "os.posix_spawn('/bin/sh', ['sh', '-c', f'read x; echo 12345 >&{s.fileno()}'], os.environ)",
        "subprocess.Popen(['sh', '-c', f'read x; echo 12345 >&{s.fileno()}'], close_fds=False)",
        "import ctypes; libc = ctypes.CDLL(None); pidfd = ctypes.c_int()\n\
         assert not libc.pidfd_spawn(ctypes.byref(pidfd), b'/bin/sh', None, None,\n\
         \x20 (ctypes.c_char_p * 4)(b'sh', b'-c', f'read x; echo 12345 >&{s.fileno()}'.encode()),\n\
         \x20 (ctypes.c_char_p * 1)())\n\
         signal.pidfd_send_signal(pidfd.value, 0)",
        "os.system(f'exec 9<&0; (read x <&9; echo 12345 >&{s.fileno()}) &')",
        "import ctypes; ctypes.CDLL(None).popen(f'exec 9<&0; (read x <&9; echo 12345 >&{s.fileno()}) &'.encode(), b'r')",
    ] {
        let peer = Peer::new();
        let source = format!(
            "s = connect(cloexec=False); unread(s)\n{spawn}\nos.close(s.detach()); say('closed')"
        );
        let mut talk = Talk::start(&mut python(&["--follow"], &source, peer.port(), &[]));
        let stream = peer.accept_and_send();
        assert_eq!(talk.hear(), "closed");
        assert!(is_open(&stream), "{spawn}");
        talk.say("go on");
        read_exactly(&stream, 6);
        let (status, _, errors) = talk.finish();
        assert_eq!(status, 0, "{spawn}: {errors}");
    }
}

#[test]
fn spawned_children_do_not_keep_what_is_close_on_exec() {
    let peer = Peer::new();
    let source = "s = connect(); unread(s)\n\
                  p = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n\
                  big(s); os.close(s.detach()); say('closed'); hear(); p.communicate(b'')";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "closed");
    assert_eq!(
        read_all(&stream),
        (BIG, End::Eof),
        "while the child still runs"
    );
    drop(stream);
    talk.say("go on");
    talk.finish();
}

#[test]
fn a_socket_sent_to_another_process() {
    let peer = Peer::new();
    let source = "a, b = socket.socketpair()\n\
                  s = connect(); unread(s)\n\
                  socket.send_fds(a, [b'x'], [s.fileno()]); os.close(s.detach()); say('closed'); hear()\n\
                  child = os.fork()\n\
                  if child: sys.exit(os.waitpid(child, 0)[1])\n\
                  fds = socket.recv_fds(b, 1, 1)[1]; t = socket.socket(fileno=fds[0]); t.sendall(b'12345')\n\
                  t.recv(1000); os.close(t.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "closed");
    assert!(
        is_open(&stream),
        "it lies in a message that nobody has read"
    );
    talk.say("go on");
    assert_eq!(read_all(&stream), (5, End::Eof));
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn a_ring_that_holds_no_connection_is_no_obstacle() {
    let program = compile("ring", &[]);
    for way in [
        "idle", "epoll", "file", "fork", "sq-idle", "sq-epoll", "sq-file",
    ] {
        let peer = Peer::new();
        let arguments = [peer.port().to_string(), way.into()];
        let mut talk = Talk::start(&mut under(&["--summary"], &program, &arguments));
        let stream = peer.accept_and_send();
        let reader = thread::spawn(move || (read_all(&stream), stream));
        assert_eq!(talk.hear(), "closed", "{way}");
        let (read, stream) = reader.join().expect("no panic");
        assert_eq!(read, (BIG, End::Eof), "{way}");
        drop(stream);
        talk.say("end");
        let (status, _, errors) = talk.finish();
        assert_eq!(status, 0, "{way}: {errors}");
        assert!(errors.contains("1 ending: 1 delivered"), "{way}: {errors}");
        assert!(!errors.contains("left to the kernel"), "{way}: {errors}");
    }
}

#[test]
fn a_socket_in_an_io_uring_is_left_to_the_kernel() {
    let program = compile("ring", &[]);
    let log = scratch().join(format!("ring-{}", std::process::id()));
    for way in ["register", "poll", "sq-poll"] {
        let peer = Peer::new();
        let options = ["--summary", "--log", log.to_str().expect("text")];
        let arguments = [peer.port().to_string(), way.into()];
        let mut talk = Talk::start(&mut under(&options, &program, &arguments));
        let mut stream = peer.accept_and_send();
        read_exactly(&stream, BIG);
        assert_eq!(talk.hear(), "closed", "{way}");
        assert!(is_open(&stream), "{way}: the ring holds it");
        stream.write_all(b"more").expect("the connection lives");
        talk.say("end");
        assert_eq!(read_all(&stream).1, End::Reset, "{way}");
        let (_, _, errors) = talk.finish();
        assert!(errors.contains("uses an io_uring"), "{way}: {errors}");
        assert!(!errors.contains("0 endings"), "there was one: {errors}");
        assert!(
            errors.contains("1 connection left to the kernel (the program uses io_uring for"),
            "{errors}"
        );
        assert!(
            errors.contains("not covered, with all their connections: "),
            "{errors}"
        );
        let text = std::fs::read_to_string(&log).expect("a log");
        let last = text.lines().last().expect("a line");
        let last: serde_json::Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(last["left_to_kernel"]["lost"], serde_json::Value::Null);
        assert_eq!(
            last["left_to_kernel"]["uncovered"].as_array().map(Vec::len),
            Some(1)
        );
        std::fs::remove_file(&log).expect("ours");
    }
}

#[test]
fn dup2_over_a_socket_ends_it_as_close_does() {
    for replace in [
        "os.dup2(null, s.fileno())",
        "os.dup2(null, s.fileno(), inheritable=False)",
    ] {
        let peer = Peer::new();
        let source = format!(
            "null = os.open('/dev/null', os.O_RDONLY); s = connect(); unread(s); big(s); {replace}\n\
             say('closed', os.read(s.fileno(), 1))"
        );
        let mut talk = Talk::start(&mut python(&[], &source, peer.port(), &[]));
        let stream = peer.accept_and_send();
        assert_eq!(talk.hear(), "closed b''", "the number means the file now");
        assert_eq!(read_all(&stream), (BIG, End::Eof), "{replace}");
        drop(stream);
        talk.finish();
    }
}

#[test]
fn dup2_of_nothing_leaves_the_socket_as_it_was() {
    let peer = Peer::new();
    let source = "s = connect(); unread(s)\n\
                  try: os.dup2(999, s.fileno())\n\
                  except OSError as error: say(error.errno)\n\
                  os.dup2(s.fileno(), s.fileno()); hear(); big(s); os.close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), libc::EBADF.to_string());
    assert!(is_open(&stream));
    talk.say("go on");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    talk.finish();
}

#[test]
fn close_range_and_closefrom_end_sockets_and_leave_the_run_alone() {
    for how in ["range", "from", "raw"] {
        let program = compile("closing", &[]);
        let peer = Peer::new();
        let mut talk = Talk::start(&mut under(
            &[],
            &program,
            &[peer.port().to_string(), how.into()],
        ));
        // The second connection is closed after the first, one by one: the run goes on.
        for _ in 0..2 {
            let stream = peer.accept_and_send();
            assert_eq!(talk.hear(), "closed");
            assert_eq!(read_all(&stream), (BIG, End::Eof), "{how}");
        }
        assert_eq!(talk.finish().0, 0);
    }
}

#[test]
fn fclose_writes_its_buffer_and_ends_the_connection() {
    let program = compile("closing", &[]);
    let peer = Peer::new();
    let mut talk = Talk::start(&mut under(
        &[],
        &program,
        &[peer.port().to_string(), "stream".into()],
    ));
    for _ in 0..2 {
        let stream = peer.accept_and_send();
        assert_eq!(talk.hear(), "closed");
        assert_eq!(read_all(&stream), (BIG, End::Eof));
    }
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn fclose_reports_a_wait_whose_time_ran_out() {
    let program = compile("closing", &[]);
    let peer = Peer::new();
    let mut talk = Talk::start(&mut under(
        &[],
        &program,
        &[peer.port().to_string(), "stream-wait".into()],
    ));
    let stream = peer.accept();
    assert_eq!(talk.hear(), format!("fclose -1 {}", libc::EWOULDBLOCK));
    assert_eq!(read_all(&stream).1, End::Reset);
    talk.finish();
}

#[test]
fn shutdown_before_the_close() {
    for how in ["SHUT_WR", "SHUT_RD", "SHUT_RDWR"] {
        let peer = Peer::new();
        let source = format!(
            "s = connect(); unread(s); big(s); s.shutdown(socket.{how}); os.close(s.detach()); say('closed')"
        );
        let mut talk = Talk::start(&mut python(&[], &source, peer.port(), &[]));
        let stream = peer.accept_and_send();
        assert_eq!(talk.hear(), "closed");
        assert_eq!(read_all(&stream), (BIG, End::Eof), "{how}");
        drop(stream);
        talk.finish();
    }
}

#[test]
fn exit_and_underscore_exit_with_connections_open() {
    for how in ["sys.exit(0)", "os._exit(0)"] {
        let peer = Peer::new();
        let source =
            format!("s = connect(); unread(s); big(s); t = s.detach(); say('closed'); {how}");
        let mut talk = Talk::start(&mut python(&[], &source, peer.port(), &[]));
        let stream = peer.accept_and_send();
        assert_eq!(talk.hear(), "closed");
        assert_eq!(read_all(&stream), (BIG, End::Eof), "{how}");
        drop(stream);
        assert_eq!(talk.finish().0, 0);
    }
}

#[test]
fn what_stdio_holds_at_exit_is_still_written() {
    let program = compile("closing", &[]);
    let peer = Peer::new();
    let mut talk = Talk::start(&mut under(
        &[],
        &program,
        &[peer.port().to_string(), "stream-exit".into()],
    ));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "closed");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn exec_keeps_what_is_not_close_on_exec_and_it_follows_the_contract() {
    let peer = Peer::new();
    let source = "s = connect(cloexec=False); unread(s); linger(s, 1)\n\
        os.execvp('python3', ['python3', '-c', '''\n\
import os, socket, sys\n\
print('closed', flush=True); sys.stdin.readline()\n\
s = socket.socket(fileno=int(sys.argv[1])); s.sendall(b\"x\" * 300000)\n\
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8)); os.close(s.detach())\n\
''', str(s.fileno())])";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(talk.hear(), "closed");
    assert!(is_open(&stream));
    talk.say("go on");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn exec_closes_what_is_close_on_exec_as_the_kernel_does() {
    let peer = Peer::new();
    let source = "s = connect(); unread(s); s.recv(1000); s.sendall(b'12345'); hear()\n\
                  os.execvp('sh', ['sh', '-c', 'echo closed; read x'])";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    read_exactly(&stream, 5);
    talk.say("exec");
    assert_eq!(talk.hear(), "closed");
    assert_eq!(read_all(&stream), (0, End::Eof));
    talk.say("go on");
    talk.finish();
}

#[test]
fn a_socket_from_outside_the_run_is_left_to_the_kernel() {
    // inetd's way: the connection is there before the run, and inetd may still hold it.
    use std::os::fd::OwnedFd;
    use std::process::Stdio;
    let peer = Peer::new();
    let port = peer.port();
    let program = thread::spawn(move || std::net::TcpStream::connect(("127.0.0.1", port)));
    let mut stream = peer.accept();
    let connection = program.join().expect("no panic").expect("connected");
    stream.write_all(b"input").expect("room");
    let held = connection.try_clone().expect("a copy");
    let source = "print(sys.stdin.buffer.raw.read(5)); os.close(0); say('closed')";
    let output = python(&[], source, port, &[])
        .stdin(Stdio::from(OwnedFd::from(connection)))
        .output()
        .expect("it runs");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("closed\n"));
    assert!(is_open(&stream), "we still hold it");
    drop(held);
    assert_eq!(read_all(&stream), (0, End::Eof));
}
