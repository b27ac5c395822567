//! The log: JSON lines, written by a thread of its own.
//!
//! A reader that does not keep up, a disk that is full or a pipe without a reader holds
//! up no ending: lines wait up to a bound, and what found no place is counted.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::account::Account;
use crate::record::{Line, timestamp};

/// Lines that wait to be written.
const QUEUE: usize = 1 << 16;
/// How long the last lines are given once nothing else is left to do.
const LAST: Duration = Duration::from_secs(2);

/// One line.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Entry {
    Ending(Line),
    /// The last one, where something was not covered.
    Account {
        time: String,
        left_to_kernel: Account,
    },
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        Self::Ending(line)
    }
}

impl From<Account> for Entry {
    fn from(left_to_kernel: Account) -> Self {
        Self::Account {
            time: timestamp(),
            left_to_kernel,
        }
    }
}

pub(crate) struct Log {
    lines: SyncSender<Entry>,
    over: Receiver<io::Result<()>>,
    missed: u64,
}

impl Log {
    pub(crate) fn new(out: Box<dyn Write + Send>) -> io::Result<Self> {
        Self::with_room(out, QUEUE)
    }

    fn with_room(out: Box<dyn Write + Send>, budget: usize) -> io::Result<Self> {
        let (lines, inbox) = mpsc::sync_channel(budget);
        let (done, over) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("lastbyte-log".to_owned())
            .spawn(move || {
                // Whoever asks has perhaps stopped waiting for it.
                let _ = done.send(write_all(out, &inbox));
            })?;
        Ok(Self {
            lines,
            over,
            missed: 0,
        })
    }

    /// Never waits.
    pub(crate) fn write(&mut self, entry: impl Into<Entry>) {
        match self.lines.try_send(entry.into()) {
            // After an error the thread is gone, and `finish` says why.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.missed += 1,
        }
    }

    /// Waits for the lines that are still to be written, two seconds at most.
    pub(crate) fn finish(self) -> io::Result<()> {
        let until = Instant::now() + LAST;
        drop(self.lines);
        let result = match self.over.recv_timeout(until - Instant::now()) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "its reader does not read; the last lines are not written",
            )),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("the log's thread panicked"))
            }
        };
        match (result, self.missed) {
            (Ok(()), 0) => Ok(()),
            (Ok(()), missed) => Err(io::Error::other(format!(
                "{missed} lines found no place, because its reader did not keep up"
            ))),
            (Err(error), 0) => Err(error),
            (Err(error), missed) => Err(io::Error::new(
                error.kind(),
                format!("{error}; {missed} lines more found no place"),
            )),
        }
    }
}

fn write_all(out: Box<dyn Write + Send>, inbox: &Receiver<Entry>) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    while let Ok(first) = inbox.recv() {
        for line in std::iter::once(first).chain(inbox.try_iter()) {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Found, Known, Left, Origin};
    use std::sync::{Arc, Condvar, Mutex};

    /// A disk that takes nothing until it is told to.
    #[derive(Clone, Default)]
    struct Stuck(Arc<(Mutex<bool>, Condvar)>);

    impl Stuck {
        fn go_on(&self) {
            *self.0.0.lock().expect("no panic") = true;
            self.0.1.notify_all();
        }
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let goes = self.0.0.lock().expect("no panic");
            drop(self.0.1.wait_while(goes, |goes| !*goes).expect("no panic"));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line() -> Line {
        let origin = Origin {
            pid: 1,
            comm: "x".repeat(5000),
            local: None,
            remote: None,
            linger: Some(Found::default()),
        };
        Line {
            time: timestamp(),
            origin,
            fate: Known::Left(Left::unwatched(Duration::ZERO)),
        }
    }

    #[test]
    fn a_reader_that_does_not_read_holds_up_nobody_and_is_said() {
        let stuck = Stuck::default();
        let mut log = Log::with_room(Box::new(stuck.clone()), 4).expect("a thread");
        // More than the thread can have taken before it got stuck.
        for _ in 0..50 {
            log.write(line());
        }
        let error = log.finish().expect_err("nothing was written");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("lines more found no place"));
        stuck.go_on();
    }

    #[test]
    fn lines_that_found_no_place_are_counted() {
        let stuck = Stuck::default();
        let mut log = Log::with_room(Box::new(stuck.clone()), 1).expect("a thread");
        for _ in 0..50 {
            log.write(line());
        }
        stuck.go_on();
        let error = log.finish().expect_err("lines are missing");
        assert!(error.to_string().contains("did not keep up"), "{error}");
    }
}
