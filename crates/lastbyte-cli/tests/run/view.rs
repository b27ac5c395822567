//! What a program finds, and what finds it, is as without lastbyte: signals, the
//! variables of service managers, an exit status whatever becomes of log and standard error.

use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Talk, lastbyte, plain_python, python, text};

/// All that can be sent to a program and caught by it.
fn signals() -> Vec<libc::c_int> {
    (1..=libc::SIGRTMAX())
        .filter(|number| ![libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, 32, 33].contains(number))
        .collect()
}

#[test]
fn every_signal_that_can_be_passed_on_is_once() {
    let source = "numbers = [int(word) for word in sys.argv[2].split(',')]\n\
                  signal.pthread_sigmask(signal.SIG_BLOCK, numbers); say('ready')\n\
                  for _ in numbers: say(signal.sigwaitinfo(numbers).si_signo)\n\
                  say(signal.sigtimedwait(numbers, 0.2))";
    let list: Vec<String> = signals().iter().map(ToString::to_string).collect();
    let mut talk = Talk::start(&mut python(&[], source, 1, &[&list.join(",")]));
    assert_eq!(talk.hear(), "ready");
    let pid = libc::pid_t::try_from(talk.child.id()).expect("a pid");
    for number in signals() {
        // SAFETY: our own child, not waited for yet.
        assert_eq!(unsafe { libc::kill(pid, number) }, 0);
        assert_eq!(talk.hear(), number.to_string());
    }
    assert_eq!(talk.hear(), "None");
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn the_value_of_a_queued_signal_is_passed_on() {
    let source = "signal.pthread_sigmask(signal.SIG_BLOCK, [40]); say('ready')\n\
                  import ctypes; info = (ctypes.c_int * 32)()\n\
                  mask = ctypes.c_uint64(1 << 39)\n\
                  ctypes.CDLL(None).sigwaitinfo(ctypes.byref((ctypes.c_uint64 * 16)(mask.value)), info)\n\
                  say(info[6])";
    let mut talk = Talk::start(&mut python(&[], source, 1, &[]));
    assert_eq!(talk.hear(), "ready");
    let pid = libc::pid_t::try_from(talk.child.id()).expect("a pid");
    let value = libc::sigval {
        sival_ptr: 4711 as *mut libc::c_void,
    };
    // SAFETY: our own child, not waited for yet.
    assert_eq!(unsafe { libc::sigqueue(pid, 40, value) }, 0);
    assert_eq!(talk.hear(), "4711");
    talk.finish();
}

#[test]
fn a_signal_ends_following_a_daemon() {
    let source = "if os.fork(): os._exit(0)\n\
                  say(os.getpid()); os.close(0); os.close(1); os.close(2); time.sleep(600)";
    let mut talk = Talk::start(&mut python(&["--follow"], source, 1, &[]));
    let daemon = talk.hear();
    let pid = libc::pid_t::try_from(talk.child.id()).expect("a pid");
    // Until the program is reaped, and the daemon is all that lastbyte has.
    let children =
        || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it stays");
    let until = Instant::now() + crate::harness::LONG;
    while children().trim() != daemon {
        assert!(Instant::now() < until, "{}", children());
        std::thread::yield_now();
    }
    // SAFETY: our own child, not waited for yet.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    let until = Instant::now() + crate::harness::LONG;
    while talk.child.try_wait().expect("our child").is_none() {
        assert!(Instant::now() < until, "it goes on following");
        std::thread::yield_now();
    }
    let daemon = daemon.parse::<libc::pid_t>().expect("a pid");
    // SAFETY: the daemon of our own program.
    assert_eq!(unsafe { libc::kill(daemon, libc::SIGKILL) }, 0);
    assert_eq!(talk.finish().0, 0);
}

#[test]
fn variables_that_name_the_started_process_name_the_program() {
    let source = "say([os.environ.get(name) == str(os.getpid()) for name in ('LISTEN_PID', 'WATCHDOG_PID')],\n\
                  os.environ.get('LISTEN_FDS'), os.fstat(3).st_ino, os.environ.get('NOTIFY_SOCKET'))";
    // As a service manager does: the number of the process that becomes lastbyte.
    let inner = python(&[], source, 1, &[]);
    let shell = "exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ WATCHDOG_PID=$$ \
                 NOTIFY_SOCKET=/run/x; exec \"$@\"";
    let output = Command::new("sh")
        .args(["-c", shell, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .output()
        .expect("sh");
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata("/dev/null").expect("there"));
    assert_eq!(
        text(&output).0,
        format!("[True, True] 1 {inode} /run/x\n"),
        "{}",
        text(&output).1
    );
    let other = python(&[], "say(os.environ['LISTEN_PID'])", 1, &[])
        .env("LISTEN_PID", "1")
        .output()
        .expect("it runs");
    assert_eq!(text(&other).0, "1\n", "another process's is not ours");
}

#[test]
fn sigpipe_does_what_it_did_before() {
    for ignored in [false, true] {
        let trap = if ignored { "trap '' PIPE; " } else { "" };
        let of = |inner: Command| {
            let output = Command::new("sh")
                .args(["-c", &format!("{trap}exec \"$@\""), "sh"])
                .arg(inner.get_program())
                .args(inner.get_args())
                .output()
                .expect("sh");
            // 32 and 33 are glibc's own, and change with its first thread.
            let mask = text(&output).0;
            let mask = mask.split_whitespace().last().expect("a mask").to_owned();
            u64::from_str_radix(&mask, 16).expect("hexadecimal") & !(3 << 31)
        };
        let shell = |under: bool| {
            let mut command = if under {
                lastbyte()
            } else {
                Command::new("env")
            };
            if under {
                command.args(["run", "--"]);
            }
            command.args(["sh", "-c", "grep SigIgn /proc/$$/status"]);
            command
        };
        assert_eq!(of(shell(true)), of(shell(false)), "ignored: {ignored}");
    }
}

/// A pipe whose other end nobody reads, full.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    let result = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(result, 0);
    // SAFETY: just made.
    let [reader, writer] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let fd = std::os::fd::AsRawFd::as_raw_fd(&writer);
    // SAFETY: plain system calls on our own descriptor.
    unsafe {
        libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
        while libc::write(fd, [0; 4096].as_ptr().cast(), 4096) > 0 {}
        libc::fcntl(fd, libc::F_SETFL, 0);
    }
    (reader, writer)
}

/// Three closes, each told; status 7.
const THREE: &str = "l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(9)\n\
                     for _ in range(3):\n  c = socket.create_connection(l.getsockname()); s, _ = l.accept()\n  \
                     c.sendall(b'x'); s.recv(1); c.close(); s.close()\n\
                     sys.exit(7)";

#[test]
fn a_standard_error_that_takes_nothing_changes_no_status() {
    let (reader, writer) = full_pipe();
    let gone = full_pipe().1;
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("there");
    for errors in [writer, gone, full.into()] {
        let began = Instant::now();
        let status = python(&["--summary"], THREE, 1, &[])
            .stderr(errors)
            .status()
            .expect("it starts");
        assert_eq!(status.code(), Some(7));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    drop(reader);
}

#[test]
fn a_log_whose_reader_does_not_read_changes_no_status() {
    let (reader, writer) = full_pipe();
    let output = python(&["--log", "-"], THREE, 1, &[])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(7));
    assert!(
        text(&output)
            .1
            .contains("the log is incomplete: its reader does not read"),
        "{}",
        text(&output).1
    );
    drop(reader);
}

#[test]
fn the_plain_programs_of_these_tests_run_without_us() {
    let output = plain_python(THREE, 1).output().expect("python3");
    assert_eq!(output.status.code(), Some(7));
}
