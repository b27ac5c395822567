//! Programs under `lastbyte run`, and the peers they talk to.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lastbyte_testkit::{compile_c, need};

/// Longer than anything here takes; what hangs is a failure.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What every Python program here begins with.
const PRELUDE: &str = r#"
import os, select, signal, socket, struct, subprocess, sys, time
port = int(sys.argv[1])
def connect(cloexec=True):
    s = socket.create_connection(('127.0.0.1', port))
    s.settimeout(None)
    os.set_inheritable(s.fileno(), not cloexec)
    return s
def linger(s, seconds):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, seconds))
def unread(s):
    "Waits until there is input, and leaves it unread."
    assert select.select([s], [], [], 30)[0]
def close(fd):
    "Closes a descriptor and prints what came of it, and after how many seconds."
    began = time.monotonic()
    try:
        os.close(fd); result = 'ok'
    except OSError as error:
        result = os.strerror(error.errno)
    say('close', result, '%.3f' % (time.monotonic() - began))
def is_open(fd):
    try:
        os.fstat(fd); return True
    except OSError:
        return False
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline()
def big(s, size=300000):
    "Sends more than the peer takes before it reads."
    s.sendall(b'x' * size)
"#;

pub(crate) fn lastbyte() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastbyte"));
    command.env_remove("LD_PRELOAD");
    command
}

/// `lastbyte run OPTIONS -- python3 -c SOURCE PORT ARGUMENTS`.
pub(crate) fn python(options: &[&str], source: &str, port: u16, arguments: &[&str]) -> Command {
    need("python3", "python3");
    let mut command = lastbyte();
    command
        .arg("run")
        .args(options)
        .args([
            "--",
            "python3",
            "-c",
            &format!("{PRELUDE}\n{source}"),
            &port.to_string(),
        ])
        .args(arguments);
    command
}

/// The same program without us.
pub(crate) fn plain_python(source: &str, port: u16) -> Command {
    need("python3", "python3");
    let mut command = Command::new("python3");
    command.args(["-c", &format!("{PRELUDE}\n{source}"), &port.to_string()]);
    command
}

/// Compiles `programs/NAME.c` and returns the program.
pub(crate) fn compile(name: &str, flags: &[&str]) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/run/programs")
        .join(name)
        .with_extension("c");
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let program = scratch().join(format!("{name}-{}-{number}", std::process::id()));
    compile_c(&source, &program, &[&["-O1"][..], flags].concat());
    program
}

/// `lastbyte run OPTIONS -- PROGRAM ARGUMENTS`.
pub(crate) fn under<A: AsRef<OsStr>>(options: &[&str], program: &Path, arguments: &[A]) -> Command {
    let mut command = lastbyte();
    command
        .arg("run")
        .args(options)
        .arg("--")
        .arg(program)
        .args(arguments);
    command
}

/// A folder of this test binary's own.
pub(crate) fn scratch() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("run");
    std::fs::create_dir_all(&folder).expect("a scratch folder");
    folder
}

/// A started program that can be talked with, line by line.
pub(crate) struct Talk {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Talk {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            input,
            output,
        }
    }

    /// The next line it prints.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        assert!(
            !line.is_empty(),
            "the program ended early: {}",
            self.errors()
        );
        line.trim_end().to_owned()
    }

    /// Gives it a line.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("not finished"), "{line}").expect("it reads");
    }

    /// Closes its input and waits for its end: exit status and the rest of its output.
    pub(crate) fn finish(mut self) -> (i32, String, String) {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        let errors = self.errors();
        let status = self.child.wait().expect("our child");
        (status.code().unwrap_or(-1), rest, errors)
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let _ = errors.read_to_string(&mut text);
        }
        text
    }
}

pub(crate) fn text(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Where programs connect to. Its receive buffer is small, so that little is
/// taken before it reads.
pub(crate) struct Peer {
    listener: TcpListener,
}

/// How a connection ended for the peer's reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Eof,
    Reset,
}

impl Peer {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let size: libc::c_int = 4096;
        // SAFETY: a plain option of that size.
        let result = unsafe {
            libc::setsockopt(
                listener.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUF,
                (&raw const size).cast(),
                size_of_val(&size) as libc::socklen_t,
            )
        };
        assert_eq!(result, 0);
        Self { listener }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("bound").port()
    }

    pub(crate) fn accept(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().expect("a connection");
        stream.set_read_timeout(Some(LONG)).expect("a time");
        stream
    }

    /// Accepts, and sends input that the program will not read.
    pub(crate) fn accept_and_send(&self) -> TcpStream {
        let mut stream = self.accept();
        stream.write_all(&[b'i'; 1000]).expect("room");
        stream
    }
}

/// Reads to the end: how many bytes, and which end.
pub(crate) fn read_all(mut stream: &TcpStream) -> (usize, End) {
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (total, End::Eof),
            Ok(got) => total += got,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (total, End::Reset),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("neither EOF nor RST after {total} bytes: {error}"),
        }
    }
}

/// Reads until `count` bytes are there and says whether the connection is still open.
pub(crate) fn read_exactly(mut stream: &TcpStream, count: usize) {
    let mut buffer = vec![0; count];
    stream
        .read_exact(&mut buffer)
        .expect("the connection lives");
}

/// Whether the connection is open and silent.
pub(crate) fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("an option");
    let result = stream.peek(&mut [0]);
    stream.set_nonblocking(false).expect("an option");
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}
