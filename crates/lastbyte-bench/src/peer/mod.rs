//! The other end, in a process of its own: so that its descriptors and its CPU
//! time are not ours.
//!
//! It is driven by lines on its standard input and answers each with one line.

mod clients;
mod connections;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use connections::Connections;

/// The measuring side's handle on its peer.
pub(crate) struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// How a peer's connections behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Acknowledges at once, never closes.
    Stays,
    /// Asks something and never closes. Linux delays the ACKs of who has just
    /// sent something itself by 40 ms, in the hope of an answer to carry them.
    Delays,
    /// Asks something, and closes when it sees our FIN: its own FIN carries the
    /// ACK.
    Closes,
    /// Has a small receive buffer and reads when told.
    Slow,
}

impl Habit {
    const ALL: [Habit; 4] = [Habit::Stays, Habit::Delays, Habit::Closes, Habit::Slow];

    /// Whether it begins with a request.
    pub(crate) const fn asks(self) -> bool {
        matches!(self, Habit::Delays | Habit::Closes)
    }

    const fn word(self) -> &'static str {
        match self {
            Habit::Stays => "stays",
            Habit::Delays => "delays",
            Habit::Closes => "closes",
            Habit::Slow => "slow",
        }
    }
}

impl Peer {
    pub(crate) fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--peer")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let to = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let from = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            child,
            to,
            from: BufReader::new(from),
        })
    }

    /// Begins to open connections; they are to be accepted meanwhile. Answered
    /// when all are open.
    pub(crate) fn connect(&mut self, to: SocketAddr, n: usize, habit: Habit) -> io::Result<()> {
        writeln!(self.to, "connect {to} {n} {}", habit.word())
    }

    /// Has peers that close do so as the FINs arrive. Answered when all have.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        writeln!(self.to, "watch")
    }

    /// Lets two of three connections read everything, by and by. Answered when
    /// all have come to an end.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        writeln!(self.to, "read")
    }

    /// Sends `n` requests from `at_once` clients, one per connection, and reads
    /// each answer to EOF. Answered when all have been.
    pub(crate) fn load(&mut self, to: SocketAddr, n: usize, at_once: usize) -> io::Result<()> {
        writeln!(self.to, "load {to} {n} {at_once}")
    }

    /// Waits for the answer to an earlier line.
    pub(crate) fn answer(&mut self) -> io::Result<()> {
        match self.line()?.trim() {
            "ok" => Ok(()),
            other => Err(io::Error::other(format!("the peer says: {other}"))),
        }
    }

    /// When the peer closed the connection from each of its ports, by
    /// CLOCK_MONOTONIC, just before it did.
    pub(crate) fn stamps(&mut self) -> io::Result<HashMap<u16, u64>> {
        writeln!(self.to, "stamps")?;
        let line = self.line()?;
        let stamps = line
            .split_whitespace()
            .filter_map(|pair| {
                let (port, at) = pair.split_once(':')?;
                Some((port.parse().ok()?, at.parse().ok()?))
            })
            .collect();
        self.answer()?;
        Ok(stamps)
    }

    /// Resets what is left, so that nothing stays behind.
    pub(crate) fn drop_all(&mut self) -> io::Result<()> {
        writeln!(self.to, "drop")?;
        self.answer()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.from.read_line(&mut line)? {
            0 => Err(io::Error::other("the peer has ended")),
            _ => Ok(line),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends at EOF too; this is for one that is stuck.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The peer's own main.
pub(crate) fn run() -> ExitCode {
    let mut connections = Connections::default();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match obey(&line, &mut connections) {
            Ok(()) => println!("ok"),
            Err(error) => println!("{line}: {error}"),
        }
    }
    ExitCode::SUCCESS
}

fn obey(line: &str, connections: &mut Connections) -> io::Result<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["connect", to, n, habit] => {
            let habit = Habit::ALL
                .into_iter()
                .find(|h| h.word() == habit)
                .ok_or_else(|| io::Error::other("unknown habit"))?;
            *connections = Connections::open(parse(to)?, parse(n)?, habit)?;
            Ok(())
        }
        ["watch"] => connections.close_as_fins_arrive(),
        ["read"] => {
            connections.read_by_and_by();
            Ok(())
        }
        ["load", to, n, at_once] => clients::load(parse(to)?, parse(n)?, parse(at_once)?),
        ["stamps"] => {
            println!("{}", connections.stamps());
            Ok(())
        }
        ["drop"] => {
            connections.reset();
            Ok(())
        }
        _ => Err(io::Error::other("unknown line")),
    }
}

fn parse<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    word: &str,
) -> io::Result<T> {
    word.parse().map_err(io::Error::other)
}
