//! `lastbyte send`: real input in, its fate out.

use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lastbyte::{CloseError, Closer, Errno, Fate, Linger, Policy, Report};
use serde::Serialize;

use crate::argument;
use crate::endpoint::Endpoint;
use crate::output::{note, say};
use crate::platform;
use crate::status::{DONE, NOT_SO, Status, USAGE};
use crate::transfer::{Stopped, Transfer, transfer};

/// Sends a file or standard input, and reports what became of it.
///
/// The policy (--linger, --confirm, --stall) decides how the connection is closed. What the
/// peer sends meanwhile is discarded.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 everything was delivered (or, with --confirm, confirmed), 1 it was
not, 2 usage, no connection, or standard output cannot be written. With --linger
off the command stays until the fate is known, however long that takes; with
--linger abort the status is 0 only if nothing was left to lose.

--json prints one object: the report (fate, acked, lost, unsent, unread, rst_sent,
closed_first, elapsed_us, error), `written` (bytes that the kernel took), `unwritten`
(bytes read that it no longer took), `received` (input discarded while sending) and
`stopped` (why the input was not sent to its end, else null).")]
pub(crate) struct Args {
    /// How long the close may wait until everything is acknowledged: a time such
    /// as 30s or 500ms, `off` (no limit) or `abort` (reset at once).
    #[arg(long, value_name = "TIME|off|abort", default_value = "30s", value_parser = argument::linger)]
    linger: Linger,

    /// Also wait for the peer to close its side.
    #[arg(long)]
    confirm: bool,

    /// Give up when the peer has acknowledged nothing for this long, while
    /// sending as well as while closing.
    #[arg(long, value_name = "TIME", value_parser = argument::time)]
    stall: Option<Duration>,

    /// Print the report as JSON.
    #[arg(long)]
    json: bool,

    /// Where to: `localhost:8080`, `192.0.2.1:80`, `[::1]:80`.
    #[arg(value_name = "HOST:PORT", value_hint = clap::ValueHint::Hostname)]
    to: Endpoint,

    /// What to send; standard input if absent or `-`.
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Status {
    if args.stall.is_some() && !platform::SHOWS_STALLS {
        return complain("--stall: this system does not show what the peer has acknowledged");
    }
    let (mut input, length) = match open(args) {
        Ok(input) => input,
        Err(text) => return complain(&text),
    };
    let stream = match connect(&args.to) {
        Ok(stream) => stream,
        Err(error) => return complain(&format!("cannot connect to {}: {error}", args.to)),
    };
    let bar = progress(length);
    let sent = transfer(&mut *input, &stream, args.stall, &|n| bar.set_position(n));
    bar.finish_and_clear();
    let sent = match sent.and_then(|sent| stream.set_nonblocking(false).map(|()| sent)) {
        Ok(sent) => sent,
        Err(error) => return complain(&format!("the connection cannot be used: {error}")),
    };

    let called = Instant::now();
    match close(stream, policy(args)) {
        Ok(report) => {
            let fin = called.duration_since(sent.last_write) + report.elapsed;
            let report = with_the_error_of(&sent, report);
            let outcome = Outcome { sent, report, fin };
            let text = if args.json {
                outcome.json()
            } else {
                outcome.line()
            };
            let status = say(&text, outcome.status());
            if let Some(Stopped::Input(error)) = &outcome.sent.stopped {
                return complain(&format!("the input ended early: {error}"));
            }
            status
        }
        Err(error) => complain(&error.to_string()),
    }
}

/// The system tells an error once. Where our own write or read was told it, the close
/// found a connection that is gone and could not know why. We had neither shut it down
/// nor aborted it, so that ECONNRESET is the peer's RST, and so is EPIPE: the kernel's
/// error of an RST that comes after the peer's FIN.
fn with_the_error_of(sent: &Transfer, mut report: Report) -> Report {
    if let Some(Stopped::Connection(errno)) = sent.stopped
        && report.fate == Fate::Failed
        && report.error.is_none()
    {
        let is_reset = errno == Errno::ECONNRESET || errno.name() == Some("EPIPE");
        if is_reset {
            report.fate = Fate::Reset;
        }
        report.error = Some(if is_reset { Errno::ECONNRESET } else { errno });
    }
    report
}

fn complain(text: &str) -> Status {
    note!("{text}");
    USAGE
}

/// The input, and its length where that is known.
fn open(args: &Args) -> Result<(Box<dyn Read>, Option<u64>), String> {
    match args.file.as_deref() {
        Some(path) if path.as_os_str() != "-" => {
            let name = path.display();
            let file = File::open(path).map_err(|e| format!("cannot open {name}: {e}"))?;
            let about = file
                .metadata()
                .map_err(|e| format!("cannot look at {name}: {e}"))?;
            if about.is_dir() {
                return Err(format!("{name} is a folder; name a file to send"));
            }
            Ok((Box::new(file), about.is_file().then_some(about.len())))
        }
        _ => Ok((Box::new(io::stdin().lock()), None)),
    }
}

fn connect(to: &Endpoint) -> io::Result<TcpStream> {
    TcpStream::connect(to.addresses()?.as_slice())
}

fn policy(args: &Args) -> Policy {
    let mut policy = Policy::new(args.linger);
    if args.confirm {
        policy = policy.with_confirm(true);
    }
    if let Some(stall) = args.stall {
        policy = policy.with_stall(stall);
    }
    policy
}

/// Closes and waits for the report, which the library gives with an error too.
fn close(stream: TcpStream, policy: Policy) -> Result<Report, CloseError> {
    let result = if policy.linger() == Linger::Off {
        await_off(stream, policy)
    } else {
        lastbyte::close(stream, policy)
    };
    result.or_else(|error| error.report().copied().ok_or(error))
}

/// A closer awaits what `close` would leave to the background.
fn await_off(stream: TcpStream, policy: Policy) -> Result<Report, CloseError> {
    let Ok(closer) = Closer::new() else {
        // No thread to be had: the kernel's word is all there is.
        return lastbyte::close(stream, policy);
    };
    let (send, report) = sync_channel(1);
    closer.close(stream, policy, move |result| {
        // The receiver below waits.
        let _ = send.send(result);
    })?;
    report.recv().expect("the closer tells of every close")
}

/// Shown on a terminal only.
fn progress(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {bytes} {bytes_per_sec} {elapsed}",
        ),
    };
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    bar.with_style(style)
}

struct Outcome {
    sent: Transfer,
    report: Report,
    /// From the last write to the fate.
    fin: Duration,
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    report: &'a Report,
    written: u64,
    unwritten: u64,
    received: u64,
    stopped: Option<String>,
}

impl Outcome {
    fn all_delivered(&self) -> bool {
        let settled = match self.report.fate {
            Fate::Aborted => self.report.lost == Some(0),
            fate => fate.is_delivered(),
        };
        settled && self.sent.stopped.is_none()
    }

    fn status(&self) -> Status {
        if self.all_delivered() { DONE } else { NOT_SO }
    }

    fn json(&self) -> String {
        let json = Json {
            report: &self.report,
            written: self.sent.written,
            unwritten: self.sent.unwritten,
            received: self.sent.received,
            stopped: self.stopped(),
        };
        serde_json::to_string(&json).expect("numbers and strings with string keys serialize")
    }

    fn stopped(&self) -> Option<String> {
        self.sent.stopped.as_ref().map(|why| match why {
            Stopped::Input(error) => format!("input: {error}"),
            Stopped::Connection(errno) => errno.to_string(),
            Stopped::Stalled => "stalled".to_owned(),
        })
    }

    /// `delivered 10485760 bytes, FIN acked 1.2 ms after the last write, peer closed`
    fn line(&self) -> String {
        let report = &self.report;
        let mut line = match report.fate {
            Fate::Delivered | Fate::Confirmed => {
                let millis = self.fin.as_secs_f64() * 1e3;
                let peer = match report.fate {
                    Fate::Confirmed => ", peer closed",
                    _ => "",
                };
                format!(
                    "delivered {} bytes, FIN acked {millis:.1} ms after the last write{peer}",
                    self.sent.written
                )
            }
            _ => format!(
                "not delivered, {report}; {} bytes were written",
                self.sent.written
            ),
        };
        if let Some(why) = self.stopped() {
            line.push_str(&format!("; the input was not sent to its end: {why}"));
        }
        line
    }
}
