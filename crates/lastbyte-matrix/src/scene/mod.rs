//! One cell, played: the actor, its peer, and what both sides and the wire showed.

mod actor;
mod peer;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lastbyte_lab::harness::{Conn, End, Got, Stamp};
use serde_json::Value;

use crate::actor::linger_seconds;
use crate::axes::{Cell, Mode, Shared, Waits, Who};
use crate::late;
use crate::stage::Stage;
use crate::wire::{Side, Wire};

use actor::{Actor, Line};
use peer::Other;

/// Longer than anything here takes on a busy machine; what hangs is wrong.
const LONG: Duration = Duration::from_secs(30);
/// What a close that waits is given before the peer acts.
const A_MOMENT: Duration = Duration::from_millis(150);
/// Between two looks at the packets.
const STEP: Duration = Duration::from_millis(5);
/// Bytes of input that nobody reads.
pub const UNREAD: usize = 1000;
/// Bytes that the peer sends late.
pub const LATE: usize = 5000;

/// A call's return, as the program saw it.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// What it returned.
    pub result: i32,
    /// errno, if that was −1.
    pub errno: i32,
    /// When.
    pub at: Stamp,
}

/// Everything that was seen.
#[derive(Debug)]
pub struct Seen {
    /// The cell.
    pub cell: Cell,
    /// Why the kernel does not allow this situation.
    pub not_applicable: Option<String>,
    /// What did not come to an end.
    pub hung: Option<String>,
    /// Bytes that send() took.
    pub written: u64,
    /// Bytes that the program read.
    pub read: u64,
    /// Input that lay unread before the program let go.
    pub input_before: u64,
    /// When the program let go.
    pub closing: Option<Stamp>,
    /// What its call returned, if it lived to see that.
    pub closed: Option<Closed>,
    /// Whether it had returned when the peer began to act.
    pub returned_first: bool,
    /// When the peer began to act.
    pub released: Stamp,
    /// The library's reports, and when they were heard.
    pub reports: Vec<(Stamp, Value)>,
    /// The log's lines.
    pub log: Vec<Value>,
    /// Standard error.
    pub errors: String,
    /// The exit status, 128 and the signal's number for a signal.
    pub status: Option<i32>,
    /// The packets.
    pub wire: Wire,
    /// What the peer read, where it reads.
    pub got: Option<Got>,
    /// How late the machine woke a thread meanwhile, at worst.
    pub late: Duration,
}

/// Plays a cell.
///
/// # Errors
/// The stage itself failed: that says nothing of the cell.
pub fn play(stage: &Stage, cell: &Cell) -> Result<Seen, String> {
    let mut other = Other::new(cell).map_err(|error| format!("the peer: {error}"))?;
    let mut actor = Actor::start(stage, cell, other.port())?;
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut seen = Seen {
        cell: *cell,
        not_applicable: None,
        hung: None,
        written: 0,
        read: 0,
        input_before: 0,
        closing: None,
        closed: None,
        returned_first: false,
        released: Stamp::now(),
        reports: Vec::new(),
        log: Vec::new(),
        errors: String::new(),
        status: None,
        wire: Wire::new(
            Conn {
                ours: nowhere,
                peer: nowhere,
            },
            Vec::new(),
        ),
        got: None,
        late: Duration::ZERO,
    };
    let began = Stamp::now();
    let result = acts(stage, &mut seen, &mut actor, &mut other);
    match result {
        Ok(()) => {}
        Err(Stop::NotApplicable(why)) => seen.not_applicable = Some(why),
        Err(Stop::Hung(what)) => seen.hung = Some(what),
        Err(Stop::Stage(why)) => return Err(format!("{why}; {}", actor.errors())),
    }
    drop(other.leave());
    actor.end(&mut seen);
    seen.late = late::worst(began, Stamp::now());
    if let Some(conn) = other.conn {
        let ended = seen.got.as_ref().is_some_and(|got| got.end == End::Eof);
        seen.wire = wire(stage, cell, conn, ended);
    }
    Ok(seen)
}

/// Whether the RST goes out once a process is gone: where somebody observes, its other
/// holders are looked for first. Nobody waits for that, but the peer's part comes after it.
fn resets_after_exit(cell: &Cell) -> bool {
    cell.mode == Mode::Abort && cell.who.runs() && (cell.way.ends_process() || cell.way.is_child())
}

/// Waits for a moment until an RST is on the wire.
fn await_reset(stage: &Stage, conn: Conn) {
    let until = Instant::now() + 4 * A_MOMENT;
    while Instant::now() < until {
        let packets = stage.capture.wire(&conn).packets().to_vec();
        if Wire::new(conn, packets).rst().is_some() {
            return;
        }
        std::thread::sleep(STEP);
    }
}

/// The packets, that with which the peer ended it included. It is on its way when the peer
/// is gone, and a busy machine takes its time; where both sides had closed none comes.
///
/// The end of an MPTCP connection is no FIN: a thread of the kernel sends that later, when it
/// closes the subflow.
fn wire(stage: &Stage, cell: &Cell, conn: Conn, ended: bool) -> Wire {
    let subflow = ended && cell.came.multi();
    let moments = if subflow { 20 } else { 1 };
    let until = Instant::now() + moments * A_MOMENT;
    loop {
        let packets = stage.capture.wire(&conn).packets().to_vec();
        let wire = Wire::new(conn, packets);
        let peer_ended = peer_reads(cell) || cell.void() || wire.rst().is_some();
        let is_whole = peer_ended && (!subflow || wire.fin(Side::Ours).is_some());
        if is_whole || Instant::now() >= until {
            return wire;
        }
        std::thread::sleep(STEP);
    }
}

/// Why a play stopped early.
enum Stop {
    NotApplicable(String),
    Hung(String),
    Stage(String),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Stop::Stage(format!("the peer: {error}"))
    }
}

fn acts(stage: &Stage, seen: &mut Seen, actor: &mut Actor, other: &mut Other) -> Result<(), Stop> {
    let cell = seen.cell;
    if cell.came.accepts() {
        let Line::Port(port) = actor.next(LONG, "port")? else {
            return Err(Stop::Stage("the actor did not listen".into()));
        };
        other.connect(port)?;
    }
    let Line::Open(port) = actor.next(LONG, "open")? else {
        return Err(Stop::Stage("the actor did not open".into()));
    };
    other.accept(port)?;
    seen.input_before = other.send_before()?;
    actor.tell("write");
    let Line::Ready(written, read) = actor.next(LONG, "ready")? else {
        return Err(Stop::Stage("the actor was not ready".into()));
    };
    (seen.written, seen.read) = (written, read);
    actor.tell("go");
    let Line::Closing(at) = actor.next(LONG, "closing")? else {
        return Err(Stop::Stage("the actor did not let go".into()));
    };
    seen.closing = Some(at);
    let patience = match (returns_at_once(&cell), cell.must_keep()) {
        (true, true) => LONG / 4,
        // It may be the kernel's close, which waits: the peer acts during that, as it
        // does in the control.
        (true, false) => 4 * A_MOMENT,
        (false, _) => A_MOMENT,
    };
    actor.hear_closed(seen, patience);
    seen.returned_first = seen.closed.is_some();
    if let Some(conn) = other.conn.filter(|_| resets_after_exit(&cell)) {
        await_reset(stage, conn);
    }
    seen.released = Stamp::now();
    other.act(seen)?;
    finish(seen, actor)
}

/// Whether the call is one that returns at once, to a program that goes on.
#[must_use]
pub fn returns_at_once(cell: &Cell) -> bool {
    let returns = !cell.way.ends_process() && cell.who != Who::Kernel;
    match cell.mode {
        Mode::Off | Mode::Abort => returns,
        // The future is what is waited for.
        Mode::WaitNonblocking | Mode::WaitMadeNonblocking => returns && cell.who != Who::Tokio,
        Mode::Wait => false,
    }
}

/// Hears the rest of what the program says.
fn finish(seen: &mut Seen, actor: &mut Actor) -> Result<(), Stop> {
    let form = seen.cell.who.is_form();
    let lives = !seen.cell.way.ends_process();
    let mut idle = !form;
    if seen.cell.who == Who::Receipt && seen.cell.shared == Shared::Dup {
        // The notice comes when the duplicate is closed, too.
        actor.tell("release");
    }
    while lives && (seen.closed.is_none() || !idle) {
        match actor.next(LONG, "the end of its closes") {
            Ok(line) => idle |= matches!(line, Line::Idle),
            Err(Stop::Hung(what)) => return Err(Stop::Hung(what)),
            Err(_) => break,
        }
        actor.move_heard(seen);
    }
    Ok(())
}

/// How long the peer waits for our RST, where it never reads.
pub(crate) fn patience(cell: &Cell) -> Duration {
    let wait = u64::try_from(linger_seconds(cell)).unwrap_or(0);
    match cell.mode {
        Mode::Off => Duration::from_millis(600),
        Mode::Abort => Duration::from_secs(4),
        _ if cell.who == Who::Kernel => Duration::from_millis(wait * 1000 + 600),
        _ => Duration::from_secs(wait + 4),
    }
}

/// Whether the peer reads to the end.
#[must_use]
pub fn peer_reads(cell: &Cell) -> bool {
    !matches!(cell.waits, Waits::Never | Waits::Resets)
}
