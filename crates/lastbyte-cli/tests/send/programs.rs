//! Against Python's socketserver, netcat and socat.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use lastbyte_lab::Stage;
use lastbyte_lab::await_state;
use lastbyte_lab::harness::{Conn, Stamp, TcpState, pattern};
use lastbyte_testkit::need;
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::sender::{Sender, evidence};

const MUCH: usize = 20_000_000;
const SOME: usize = 1_000_000;

/// A receiver in a process of its own. Dropped, it is killed.
struct Receiver {
    child: Child,
    out: ChildStdout,
    at: SocketAddr,
    since: Stamp,
}

impl Receiver {
    /// `package` is what to install where the program is missing.
    fn start(program: &str, package: &str, arguments: &[&str]) -> Result<Self, Failed> {
        need(program, package);
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{program} does not run: {e}"))?;
        // Each says on standard error where it listens; the port comes last.
        let said = child.stderr.take().ok_or("no standard error")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let port = line
            .trim_end()
            .rsplit([' ', ':'])
            .next()
            .and_then(|port| port.parse::<u16>().ok())
            .ok_or_else(|| format!("{program} did not say its port: {line:?}"))?;
        let out = child.stdout.take().ok_or("no standard output")?;
        Ok(Self {
            child,
            out,
            at: (Ipv4Addr::LOCALHOST, port).into(),
            since: Stamp::now(),
        })
    }

    fn python(handler: &str) -> Result<Self, Failed> {
        let script = format!("{PYTHON}\n{handler}\n{SERVE}");
        Self::start("python3", "python3", &["-c", &script])
    }

    fn nc() -> Result<Self, Failed> {
        Self::start("nc", "netcat-openbsd", &["-nlv", "127.0.0.1", "0"])
    }

    fn socat() -> Result<Self, Failed> {
        let listen = "TCP-LISTEN:0,bind=127.0.0.1,rcvbuf=16384";
        Self::start("socat", "socat", &["-d", "-d", "-u", listen, "STDOUT"])
    }

    /// Reads `bytes` bytes of what it received, and demands that they are ours.
    fn received(&mut self, bytes: usize) -> Result<(), Failed> {
        let mut got = vec![0; bytes];
        self.out.read_exact(&mut got)?;
        same(&got, bytes)
    }

    /// Reads all that it received.
    fn received_all(&mut self, bytes: usize) -> Result<(), Failed> {
        let mut got = Vec::new();
        self.out.read_to_end(&mut got)?;
        same(&got, bytes)
    }

    fn stop(&self) -> Result<(), Failed> {
        Ok(kill(self.id(), Signal::SIGSTOP)?)
    }

    fn kill(&mut self) -> Result<(), Failed> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// The one connection that came to it.
    fn conn(&self, stage: &Stage) -> Result<Conn, Failed> {
        let capture = evidence(stage.capture())?;
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            match capture.conns_to(self.at, self.since).as_slice() {
                [conn] => return Ok(*conn),
                [] if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
                other => return Err(format!("{} connections came", other.len()).into()),
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Ours; both do nothing if it was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn same(got: &[u8], bytes: usize) -> Result<(), Failed> {
    if got.len() != bytes {
        return Err(format!("{} bytes arrived of {bytes}", got.len()).into());
    }
    match (0..).zip(got).find(|&(at, &byte)| byte != pattern(at)) {
        None => Ok(()),
        Some((at, _)) => Err(format!("byte {at} is not the one sent").into()),
    }
}

fn ours(bytes: std::ops::Range<usize>) -> Vec<u8> {
    bytes.map(|at| pattern(at as u64)).collect()
}

const PYTHON: &str = "\
import socketserver, sys
class Handler(socketserver.BaseRequestHandler):";
const SERVE: &str = "
server = socketserver.TCPServer(('127.0.0.1', 0), Handler)
print('port', server.server_address[1], file=sys.stderr, flush=True)
server.handle_request()
";
const READ_ALL: &str = "
    def handle(self):
        while data := self.request.recv(65536):
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()";
const ECHO: &str = "
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()";
const STOP_READING: &str = "
    def handle(self):
        data = self.request.recv(1000, 0x100)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        while True:
            import signal
            signal.pause()";

fn reads_all(stage: &Stage, receiver: Receiver) -> Result<(), Failed> {
    let mut receiver = receiver;
    let sender = Sender::start(receiver.at, &["--confirm"], MUCH)?;
    receiver.received_all(MUCH)?;
    let said = sender.end()?;
    said.check(stage, &receiver.conn(stage)?, 0, "confirmed")
}

pub(crate) fn python_reads_all(stage: &Stage) -> Result<(), Failed> {
    reads_all(stage, Receiver::python(READ_ALL)?)
}

pub(crate) fn nc_reads_all(stage: &Stage) -> Result<(), Failed> {
    reads_all(stage, Receiver::nc()?)
}

pub(crate) fn socat_reads_all(stage: &Stage) -> Result<(), Failed> {
    reads_all(stage, Receiver::socat()?)
}

/// Its answers must neither block us nor cost us our data.
pub(crate) fn python_echoes(stage: &Stage) -> Result<(), Failed> {
    let mut receiver = Receiver::python(ECHO)?;
    let sender = Sender::start(receiver.at, &["--confirm"], MUCH)?;
    receiver.received_all(MUCH)?;
    let said = sender.end()?;
    said.check(stage, &receiver.conn(stage)?, 0, "confirmed")?;
    let discarded = said.number("received")? + said.number("unread")?;
    if discarded == MUCH as u64 {
        Ok(())
    } else {
        Err(format!(
            "{discarded} bytes of the echo were discarded: {}",
            said.report
        )
        .into())
    }
}

/// Stops it after it has read some, with much more to come.
fn stops_reading(stage: &Stage, mut receiver: Receiver, stop: bool) -> Result<(), Failed> {
    let options = ["--linger", "10s", "--stall", "300ms"];
    let (sender, mut input) = Sender::piped(receiver.at, &options)?;
    input.write_all(&ours(0..1000))?;
    receiver.received(1000)?;
    if stop {
        receiver.stop()?;
    }
    // It stops taking input when it gives the connection up.
    let _ = input.write_all(&ours(1000..MUCH));
    drop(input);
    let said = sender.end()?;
    said.check(stage, &receiver.conn(stage)?, 1, "stalled")?;
    if said.report["stopped"] == "stalled" && said.report["error"] == "EWOULDBLOCK" {
        Ok(())
    } else {
        Err(format!("it does not say why: {}", said.report).into())
    }
}

pub(crate) fn python_stops_reading(stage: &Stage) -> Result<(), Failed> {
    stops_reading(stage, Receiver::python(STOP_READING)?, false)
}

pub(crate) fn nc_stops_reading(stage: &Stage) -> Result<(), Failed> {
    stops_reading(stage, Receiver::nc()?, true)
}

pub(crate) fn socat_stops_reading(stage: &Stage) -> Result<(), Failed> {
    stops_reading(stage, Receiver::socat()?, true)
}

/// Kills it after it has read half of what there is.
fn killed_half_way(stage: &Stage, mut receiver: Receiver) -> Result<(), Failed> {
    let (sender, mut input) = Sender::piped(receiver.at, &["--linger", "10s"])?;
    input.write_all(&ours(0..SOME))?;
    receiver.received(SOME)?;
    receiver.kill()?;
    // It stops taking input when the connection is gone.
    let _ = input.write_all(&ours(SOME..2 * SOME));
    drop(input);
    let said = sender.end()?;
    said.check(stage, &receiver.conn(stage)?, 1, "reset")?;
    if said.number("acked")? == SOME as u64 {
        Ok(())
    } else {
        Err(format!("{SOME} bytes were read, the report is {}", said.report).into())
    }
}

pub(crate) fn nc_is_killed_half_way(stage: &Stage) -> Result<(), Failed> {
    killed_half_way(stage, Receiver::nc()?)
}

pub(crate) fn socat_is_killed_half_way(stage: &Stage) -> Result<(), Failed> {
    killed_half_way(stage, Receiver::socat()?)
}

/// Killed with unread input, while `send` waits for the acknowledgement.
pub(crate) fn socat_is_killed_during_the_close(stage: &Stage) -> Result<(), Failed> {
    let mut receiver = Receiver::socat()?;
    let (sender, mut input) = Sender::piped(receiver.at, &["--linger", "10s"])?;
    input.write_all(&ours(0..1000))?;
    receiver.received(1000)?;
    receiver.stop()?;
    input.write_all(&ours(1000..60_000))?;
    drop(input);
    let conn = receiver.conn(stage)?;
    await_state(&conn, &TcpState::FinWait1).map_err(|e| format!("{e:?}"))?;
    receiver.kill()?;
    sender.end()?.check(stage, &conn, 1, "reset")
}
