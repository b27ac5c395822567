//! The helper program: it comes to a connection, brings about what the cell says,
//! and lets go. It talks with the stage by lines on its standard input and output.
//!
//! Told in this order: `port N` (if it accepts), `open PORT`, `ready WRITTEN READ`,
//! `closing NANOSECONDS`, `closed RESULT ERRNO NANOSECONDS`, `report JSON`, `idle`.
//! Heard: `write`, `go`, `release` (of what outlives a receipt's call), `end`.

mod connection;
mod letting;
mod past;
mod talk;

use std::os::fd::RawFd;
use std::process::ExitCode;

use crate::axes::{Cell, Shared, Way};

pub use letting::release;
pub use talk::{hear, say, stamp};

/// Seconds of SO_LINGER where a close waits.
#[must_use]
pub fn linger_seconds(cell: &Cell) -> i32 {
    // A SYN-ACK that was lost is sent again after one second, and after three.
    if cell.came == crate::axes::Came::FastHeld {
        4
    } else {
        2
    }
}

/// What closes in a library's cell; prints its own `closed` and `report`.
pub type Call = fn(&Cell, RawFd);

/// The whole program. `main` returns what this returns.
#[must_use]
pub fn act(call: Call) -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.get(1).map(|name| name.parse::<Cell>());
    let Some(Ok(cell)) = given else {
        eprintln!("usage: {} CELL PORT", arguments[0]);
        return ExitCode::from(2);
    };
    let number = |at: usize| arguments.get(at).and_then(|n| n.parse::<i64>().ok());
    match (
        arguments.get(2).map(String::as_str),
        number(3),
        number(4),
        number(5),
    ) {
        // After the exec: the connection is open, what was written is known.
        (Some("resumed"), Some(fd), Some(written), Some(read)) => {
            finish(&cell, fd as RawFd, &[written, read], call)
        }
        _ => {
            let port = number(2).unwrap_or(0) as u16;
            match prepare(&cell, port) {
                Ok((fd, told)) if cell.shared == Shared::Execed => {
                    letting::exec_self(&arguments[0], &cell, fd, told)
                }
                Ok((fd, told)) => finish(&cell, fd, &told, call),
                Err(why) => {
                    say(&format!("na {why}"));
                    ExitCode::from(3)
                }
            }
        }
    }
}

fn prepare(cell: &Cell, port: u16) -> Result<(RawFd, [i64; 2]), String> {
    let open = connection::open(cell, port)?;
    past::options(cell, open.fd)?;
    say(&format!("open {}", connection::local_port(open.fd)?));
    wait_for("write");
    let written = open.written + past::write(cell, open.fd, open.written)?;
    past::shut(cell, open.fd)?;
    past::linger(cell, open.fd)?;
    Ok((open.fd, [written as i64, open.read as i64]))
}

fn finish(cell: &Cell, fd: RawFd, told: &[i64; 2], call: Call) -> ExitCode {
    let others = letting::share(cell, fd);
    say(&format!("ready {} {}", told[0], told[1]));
    wait_for("go");
    others.first();
    if cell.way == Way::Call {
        say(&format!("closing {}", stamp()));
        letting::on_a_thread(cell, move |cell| call(cell, fd));
    } else {
        letting::let_go(cell, fd, &others);
    }
    if cell.way != Way::Return {
        wait_for("end");
    }
    ExitCode::SUCCESS
}

/// Waits for a line; a stage that is gone ends the program.
fn wait_for(line: &str) {
    if hear().as_deref() != Some(line) {
        // SAFETY: ends the process; nothing of it is of use any more.
        unsafe { libc::_exit(4) }
    }
}
