//! The actor's process, and its lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use lastbyte_lab::harness::Stamp;

use super::{Closed, LONG, Seen, Stop};
use crate::axes::{Cell, Who};
use crate::stage::Stage;

/// A line of the actor's.
pub(super) enum Line {
    Port(u16),
    Open(u16),
    Ready(u64, u64),
    Closing(Stamp),
    Closed,
    Report,
    Idle,
}

pub(super) struct Actor {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    closed: Option<Closed>,
    reports: Vec<(Stamp, serde_json::Value)>,
    errors: PathBuf,
    log: Option<PathBuf>,
    done: bool,
}

impl Actor {
    pub(super) fn start(stage: &Stage, cell: &Cell, port: u16) -> Result<Self, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| {
            let name = format!("matrix-{}-{number}.{kind}", std::process::id());
            std::env::temp_dir().join(name)
        };
        let errors = file("err");
        let log = (cell.who == Who::RunLog).then(|| file("log"));
        let mut command = command(stage, cell, log.as_ref());
        command.arg(cell.to_string()).arg(port.to_string());
        let stderr = File::create(&errors).map_err(|e| format!("{}: {e}", errors.display()))?;
        let mut child = command
            .env_remove("LD_PRELOAD")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|e| format!("{command:?}: {e}"))?;
        let (send, lines) = mpsc::channel();
        let output = child.stdout.take().ok_or("no output")?;
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            input: child.stdin.take(),
            child,
            lines,
            closed: None,
            reports: Vec::new(),
            errors,
            log,
            done: false,
        })
    }

    /// Says a line; a program that is gone does not hear it.
    pub(super) fn tell(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            let _ = writeln!(input, "{line}");
        }
    }

    /// The next line, which says `what`.
    pub(super) fn next(&mut self, limit: Duration, what: &str) -> Result<Line, Stop> {
        let line = match self.lines.recv_timeout(limit) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                return Err(Stop::Hung(format!("{what} did not come within {limit:?}")));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Stop::Stage(format!("the actor ended before: {what}")));
            }
        };
        self.parse(&line)
            .ok_or_else(|| match line.strip_prefix("na ") {
                Some(why) => Stop::NotApplicable(why.to_owned()),
                None => Stop::Stage(format!("the actor said {line:?} instead of {what}")),
            })
    }

    fn parse(&mut self, line: &str) -> Option<Line> {
        let mut words = line.splitn(4, ' ');
        let first = words.next()?;
        if let Some(json) = line.strip_prefix("report ") {
            let report = serde_json::from_str(json).ok()?;
            self.reports.push((Stamp::now(), report));
            return Some(Line::Report);
        }
        let mut number = || words.next()?.parse::<i128>().ok();
        Some(match first {
            "port" => Line::Port(u16::try_from(number()?).ok()?),
            "open" => Line::Open(u16::try_from(number()?).ok()?),
            "ready" => Line::Ready(
                u64::try_from(number()?).ok()?,
                u64::try_from(number()?).ok()?,
            ),
            "closing" => Line::Closing(stamp(number()?)?),
            "closed" => {
                self.closed = Some(Closed {
                    result: i32::try_from(number()?).ok()?,
                    errno: i32::try_from(number()?).ok()?,
                    at: stamp(number()?)?,
                });
                Line::Closed
            }
            "idle" => Line::Idle,
            _ => return None,
        })
    }

    /// Waits for the call's return.
    pub(super) fn hear_closed(&mut self, seen: &mut Seen, limit: Duration) {
        let until = Instant::now() + limit;
        while self.closed.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if self.next(left, "closed").is_err() {
                break;
            }
        }
        self.move_heard(seen);
    }

    /// Gives over what was heard meanwhile.
    pub(super) fn move_heard(&mut self, seen: &mut Seen) {
        seen.closed = seen.closed.or(self.closed);
        seen.reports.append(&mut self.reports);
    }

    /// Standard error so far.
    pub(super) fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Lets the program end, and takes what it leaves.
    pub(super) fn end(mut self, seen: &mut Seen) {
        self.tell("end");
        self.input = None;
        // Every holder of the output ends with it, lastbyte itself included.
        let limit = if seen.hung.is_some() { LONG / 10 } else { LONG };
        let until = Instant::now() + limit;
        let ended = loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => drop(self.parse(&line)),
                Err(RecvTimeoutError::Disconnected) => break true,
                Err(RecvTimeoutError::Timeout) => break false,
            }
        };
        self.move_heard(seen);
        if !ended {
            let what = format!("the program did not end within {limit:?}");
            seen.hung.get_or_insert(what);
            let _ = self.child.kill();
        }
        if let Ok(status) = self.child.wait() {
            self.done = true;
            seen.status = status.code().or(status.signal().map(|signal| 128 + signal));
        }
        seen.errors = self.errors();
        if let Some(log) = &self.log {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines = text.lines();
            seen.log = lines
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if !self.done {
            // Our own child, not waited for yet, so the id is still its.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_file(&self.errors);
        if let Some(log) = &self.log {
            let _ = std::fs::remove_file(log);
        }
    }
}

fn command(stage: &Stage, cell: &Cell, log: Option<&PathBuf>) -> Command {
    let programs = &stage.programs;
    if cell.who.is_form() {
        return Command::new(&programs.library);
    }
    if cell.who == Who::Kernel {
        return Command::new(&programs.plain);
    }
    let mut command = Command::new(&programs.command);
    command.args(["run", "--patience", "20s"]);
    if let Some(log) = log {
        command.arg("--log").arg(log);
    }
    if cell.who == Who::RunSummary {
        command.arg("--summary");
    }
    command.arg("--").arg(&programs.plain);
    command
}

fn stamp(nanoseconds: i128) -> Option<Stamp> {
    let seconds = u32::try_from(nanoseconds / 1_000_000_000).ok()?;
    let rest = u32::try_from(nanoseconds % 1_000_000_000).ok()?;
    Some(Stamp::from_parts(seconds, rest))
}
