//! The contract's rows, kept by programs that know nothing of it.

use crate::harness::{End, Peer, Talk, compile, plain_python, python, read_all, under};

const BIG: usize = 300_000;

/// What a busy machine may take to wake a program whose close is over. How exactly
/// deadlines are kept is shown in the library's own tests.
const LATE: f64 = 10.0;

/// "close ok 0.001" taken apart.
fn closed(line: &str) -> (String, f64) {
    let rest = line
        .strip_prefix("close ")
        .unwrap_or_else(|| panic!("not a close: {line}"));
    let (result, time) = rest.rsplit_once(' ').expect("a time");
    (result.to_owned(), time.parse().expect("seconds"))
}

#[test]
fn a_wait_whose_time_runs_out_fails_and_resets() {
    let program = compile("manual-b", &[]);
    let peer = Peer::new();
    let mut talk = Talk::start(&mut under(
        &[],
        &program,
        &[peer.port().to_string(), "2".into()],
    ));
    let stream = peer.accept();
    let line = talk.hear();
    let fields: Vec<&str> = line.split(' ').collect();
    assert_eq!(fields[..2], ["close", "-1"], "{line}");
    assert_eq!(fields[2], libc::EWOULDBLOCK.to_string(), "{line}");
    let time: f64 = fields[3].parse().expect("seconds");
    assert!((2.0..2.0 + LATE).contains(&time), "{line}");
    assert_eq!(talk.hear(), "gone", "the descriptor must be free");
    let (got, end) = read_all(&stream);
    assert_eq!(end, End::Reset, "after {got} bytes");
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn the_kernel_alone_returns_success_and_delivers_later() {
    let program = compile("manual-b", &[]);
    let peer = Peer::new();
    let mut command = std::process::Command::new(&program);
    let mut talk = Talk::start(command.args([peer.port().to_string(), "1".into()]));
    let stream = peer.accept();
    assert!(talk.hear().starts_with("close 0 0 "));
    assert_eq!(talk.hear(), "gone");
    assert_eq!(read_all(&stream).1, End::Eof);
    talk.finish();
}

#[test]
fn a_wait_ends_when_everything_is_acknowledged() {
    let peer = Peer::new();
    let source = "s = connect(); unread(s); linger(s, 30); big(s); close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    let (result, time) = closed(&talk.hear());
    assert_eq!(result, "ok");
    assert!(time < 25.0, "{time} s");
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn a_reset_during_the_wait_is_an_error_at_once() {
    let peer = Peer::new();
    let source = "s = connect(); linger(s, 30); big(s); say('closing'); close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept();
    assert_eq!(talk.hear(), "closing");
    // Unread input: the kernel resets. Wherever the close is by now, that is its end.
    drop(stream);
    let (result, time) = closed(&talk.hear());
    assert_eq!(result, "Connection reset by peer");
    assert!(time < 25.0, "{time} s");
    talk.finish();
}

#[test]
fn a_non_blocking_wait_returns_at_once_and_keeps_its_deadline() {
    let peer = Peer::new();
    let source = "s = connect(); linger(s, 2); big(s); s.setblocking(False); close(s.detach())";
    let began = std::time::Instant::now();
    let mut talk = Talk::start(&mut python(&["--summary"], source, peer.port(), &[]));
    let stream = peer.accept();
    let (result, time) = closed(&talk.hear());
    assert_eq!(result, "ok");
    assert!(time < 2.0, "{time} s");
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 0);
    assert!(
        began.elapsed().as_secs_f64() >= 2.0,
        "the command stays for the deadline"
    );
    assert!(errors.contains("1 ending: 1 timed_out"), "{errors}");
    let (got, end) = read_all(&stream);
    assert_eq!(end, End::Reset);
    assert!(got < BIG);
}

#[test]
fn off_delivers_everything_although_input_is_unread_and_the_program_exits() {
    let peer = Peer::new();
    let size = 2_000_000;
    let source = "s = connect(); unread(s); s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)\n\
                  big(s, 2000000); close(s.detach()); os._exit(0)";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(closed(&talk.hear()).0, "ok");
    assert_eq!(read_all(&stream), (size, End::Eof));
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn off_alone_loses_what_was_sent() {
    let peer = Peer::new();
    let source = "s = connect(); unread(s); s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)\n\
                  big(s, 2000000); close(s.detach()); os._exit(0)";
    let mut talk = Talk::start(&mut plain_python(source, peer.port()));
    let stream = peer.accept_and_send();
    assert_eq!(closed(&talk.hear()).0, "ok");
    let (got, end) = read_all(&stream);
    assert_eq!(end, End::Reset);
    assert!(got < 2_000_000);
    talk.finish();
}

#[test]
fn off_delivers_everything_although_the_peer_sends_after_the_close() {
    use std::io::Write;
    let peer = Peer::new();
    let source = "s = connect(); big(s); close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let mut stream = peer.accept();
    assert_eq!(closed(&talk.hear()).0, "ok");
    stream
        .write_all(&[b'l'; 5000])
        .expect("the connection takes it");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn off_with_nothing_under_way_is_an_eof_for_the_peer() {
    let peer = Peer::new();
    let source = "s = connect(); s.sendall(b'12345'); hear(); close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let stream = peer.accept();
    crate::harness::read_exactly(&stream, 5);
    talk.say("close");
    assert_eq!(closed(&talk.hear()).0, "ok");
    assert_eq!(read_all(&stream), (0, End::Eof));
    talk.finish();
}

#[test]
fn abort_resets_at_once() {
    for options in [&[][..], &["--summary"]] {
        let peer = Peer::new();
        let source = "s = connect(); linger(s, 0); big(s); close(s.detach())";
        let mut talk = Talk::start(&mut python(options, source, peer.port(), &[]));
        let stream = peer.accept();
        assert_eq!(closed(&talk.hear()).0, "ok");
        let (got, end) = read_all(&stream);
        assert_eq!(end, End::Reset);
        assert!(got < BIG);
        let (_, _, errors) = talk.finish();
        assert_eq!(
            errors.contains("1 aborted"),
            !options.is_empty(),
            "{errors}"
        );
    }
}

#[test]
fn an_override_decides_whatever_the_socket_says() {
    let peer = Peer::new();
    let off = "s = connect(); big(s); close(s.detach())";
    let mut talk = Talk::start(&mut python(&["--linger", "500ms"], off, peer.port(), &[]));
    let _stream = peer.accept();
    let (result, time) = closed(&talk.hear());
    assert_eq!(result, "Resource temporarily unavailable");
    assert!((0.5..0.5 + LATE).contains(&time), "{time} s");
    talk.finish();

    let mut talk = Talk::start(&mut python(&["--linger", "abort"], off, peer.port(), &[]));
    let stream = peer.accept();
    assert_eq!(closed(&talk.hear()).0, "ok");
    assert_eq!(read_all(&stream).1, End::Reset);
    talk.finish();

    let wait = "s = connect(); linger(s, 30); big(s); close(s.detach())";
    let mut talk = Talk::start(&mut python(&["--linger", "off"], wait, peer.port(), &[]));
    let stream = peer.accept();
    let (result, time) = closed(&talk.hear());
    assert_eq!(result, "ok");
    assert!(time < 25.0, "{time} s");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    talk.finish();
}

#[test]
fn a_signal_does_not_end_the_wait() {
    let peer = Peer::new();
    let source = "signal.signal(signal.SIGALRM, lambda *_: None)\n\
                  signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)\n\
                  s = connect(); linger(s, 1); s.setblocking(False)\n\
                  try:\n  while True: s.send(b'x' * 65536)\n\
                  except BlockingIOError: pass\n\
                  s.setblocking(True); close(s.detach())";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    let _stream = peer.accept();
    let (result, time) = closed(&talk.hear());
    assert_eq!(result, "Resource temporarily unavailable");
    assert!((1.0..1.0 + LATE).contains(&time), "{time} s");
    talk.finish();
}
