//! Runs `lastbyte send --json` and holds what it says against the wire.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use lastbyte_lab::harness::{Conn, pattern};
use lastbyte_lab::{Stage, Stop};
use lastbyte_testkit::ignore;
use libtest_mimic::Failed;
use serde_json::Value;

pub(crate) const LASTBYTE: &str = env!("CARGO_BIN_EXE_lastbyte");

/// A running `send`, and the thread that feeds it.
pub(crate) struct Sender {
    child: Option<Child>,
    feeder: Option<JoinHandle<()>>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: Option<i32>,
    pub(crate) report: Value,
}

impl Sender {
    /// Sends `bytes` bytes of the pattern to `to`.
    pub(crate) fn start(to: SocketAddr, options: &[&str], bytes: usize) -> Result<Self, Failed> {
        let (mut sender, mut input) = Self::piped(to, options)?;
        sender.feeder = Some(std::thread::spawn(move || {
            let block: Vec<u8> = (0..bytes as u64).map(pattern).collect();
            // It stops reading when the connection is gone.
            let _ = input.write_all(&block);
        }));
        Ok(sender)
    }

    /// Sends what is written into the pipe.
    pub(crate) fn piped(
        to: SocketAddr,
        options: &[&str],
    ) -> Result<(Self, std::process::ChildStdin), Failed> {
        let mut child = Command::new(LASTBYTE)
            .args(["send", "--json"])
            .args(options)
            .arg(to.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no pipe to send")?;
        let sender = Self {
            child: Some(child),
            feeder: None,
        };
        Ok((sender, input))
    }

    /// Waits for its end and its report.
    pub(crate) fn end(mut self) -> Result<Said, Failed> {
        let child = self.child.take().ok_or("it was waited for before")?;
        let output = child.wait_with_output()?;
        if let Some(feeder) = self.feeder.take() {
            feeder.join().map_err(|_| "the feeding thread failed")?;
        }
        let report = serde_json::from_slice(&output.stdout).map_err(|e| {
            format!(
                "send printed no report ({e}): {:?}, {:?}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
            )
        })?;
        Ok(Said {
            status: output.status.code(),
            report,
        })
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Ours, and not waited for yet.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Said {
    pub(crate) fn number(&self, field: &str) -> Result<u64, Failed> {
        self.report[field]
            .as_u64()
            .ok_or_else(|| format!("{field} is no number in {}", self.report).into())
    }

    /// Demands the exit status, the fate, `acked + lost == written`, and that
    /// `acked` is what the wire shows.
    pub(crate) fn check(
        &self,
        stage: &Stage,
        conn: &Conn,
        status: i32,
        fate: &str,
    ) -> Result<(), Failed> {
        let (acked, lost) = (self.number("acked")?, self.number("lost")?);
        let written = self.number("written")?;
        let wire = evidence(stage.wire(conn))?;
        let demands = [
            (self.status == Some(status), "the exit status"),
            (self.report["fate"] == fate, "the fate"),
            (acked + lost == written, "acked + lost = written"),
            (wire.acked() == Some(acked), "acked as the wire shows it"),
        ];
        for (met, what) in demands {
            if !met {
                return Err(format!(
                    "{what}: wanted {status} {fate}; status {:?}, {}; the wire shows {:?} acked",
                    self.status,
                    self.report,
                    wire.acked()
                )
                .into());
            }
        }
        Ok(())
    }
}

/// What is held against the command; without it the test is ignored.
pub(crate) fn evidence<T>(found: Result<T, Stop>) -> Result<T, Failed> {
    match found {
        Err(Stop::NotRun(why)) => ignore(&why),
        other => other.map_err(|stop| format!("{stop:?}").into()),
    }
}
