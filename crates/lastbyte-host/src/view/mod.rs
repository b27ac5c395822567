//! The live view: what it shows and how keys change it, without a terminal.
//! [`draw`] puts it on a screen of 80×24 or more.

mod digest;
mod draw;
mod filter;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::doctor::Direction;
use crate::event::Ending;
use crate::process::Process;
use crate::tuple::{State, Tuple};
use crate::watcher::Losses;

use digest::ByFate;

pub use digest::{Digest, Look};
pub use draw::{Theme, draw};
pub use filter::Filter;

/// Endings kept to look at.
const LATEST: usize = 1000;
/// Processes counted; beyond, the least of them make room.
const PROCESSES: usize = 2048;
/// Stuck sockets, and directions with TIME_WAIT, listed.
const STUCK: usize = 500;
/// Directions whose first closer is remembered.
const CLOSERS: usize = 4096;

/// The parts of the screen that can be moved in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// The latest endings.
    Latest,
    /// The processes that lose and reset most.
    Offenders,
    /// Sockets that stay in a closing state, and TIME_WAIT.
    Stuck,
}

/// What offenders are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Lost,
    ResetsSent,
    ResetsGot,
    Endings,
}

/// What one process did.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    lost: u64,
    resets_sent: u64,
    resets_got: u64,
    endings: u64,
}

/// A socket that is closing and stays.
#[derive(Clone, Copy, Debug)]
struct StuckRow {
    state: State,
    age: Duration,
    owner: Option<(Process, u32)>,
    held: bool,
    tuple: Tuple,
    queued: u32,
}

/// TIME_WAIT in one direction.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    direction: Direction,
    number: u64,
    /// Local ports left toward there.
    left: Option<u64>,
    closer: Option<Process>,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To go on.
    GoOn,
    /// To end.
    Quit,
}

/// Everything shown.
#[derive(Debug)]
pub struct Model {
    notes: Vec<String>,
    total: u64,
    /// Endings by fate, this second and the second before; the last slot is for
    /// unknown fates.
    counting: ByFate,
    rates: [f64; 9],
    counted_since: Instant,
    latest: VecDeque<Ending>,
    tallies: HashMap<Process, Tally>,
    closers: HashMap<Direction, Process>,
    stuck: Vec<StuckRow>,
    stuck_in_all: usize,
    waiting: Vec<Waiting>,
    waiting_in_all: u64,
    losses: Losses,
    pane: Pane,
    row: usize,
    order: Order,
    by_lost: bool,
    filter: Filter,
    typing: Option<String>,
    complaint: Option<String>,
    opened: Option<Box<Ending>>,
    paused: bool,
}

impl Model {
    /// Of a watch that has these notes.
    #[must_use]
    pub fn new(notes: Vec<String>) -> Self {
        Self {
            notes,
            total: 0,
            counting: [0; 9],
            rates: [0.0; 9],
            counted_since: Instant::now(),
            latest: VecDeque::with_capacity(LATEST),
            tallies: HashMap::new(),
            closers: HashMap::new(),
            stuck: Vec::new(),
            stuck_in_all: 0,
            waiting: Vec::new(),
            waiting_in_all: 0,
            losses: Losses::default(),
            pane: Pane::Latest,
            row: 0,
            order: Order::Lost,
            by_lost: false,
            filter: Filter::default(),
            typing: None,
            complaint: None,
            opened: None,
            paused: false,
        }
    }

    /// What of the latest endings is wanted.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Takes what has come.
    pub fn digest(&mut self, digest: Digest) {
        for (counting, number) in self.counting.iter_mut().zip(digest.by_fate) {
            *counting += number;
            self.total += number;
        }
        for (process, tally) in digest.tallies {
            digest::add(&mut self.tallies, process, tally);
        }
        for (direction, process) in digest.closers {
            if self.closers.len() < CLOSERS || self.closers.contains_key(&direction) {
                self.closers.insert(direction, process);
            }
        }
        if let Some(look) = digest.look {
            self.look(look);
        }
        if self.paused {
            return;
        }
        // The filter may have changed meanwhile.
        let before = self.latest.len();
        for ending in digest.latest.into_iter().rev() {
            if self.filter.admits(&ending) {
                self.latest.push_front(ending);
            }
        }
        let more = self.latest.len() - before;
        self.latest.truncate(LATEST);
        // What was selected stays selected while others come.
        if self.pane == Pane::Latest && self.row > 0 && !self.by_lost {
            self.row = (self.row + more).min(self.latest.len().saturating_sub(1));
        }
    }

    fn look(&mut self, look: Look) {
        self.losses = look.losses;
        self.stuck = look.stuck;
        self.stuck_in_all = look.stuck_in_all;
        self.waiting_in_all = look.waiting_in_all;
        self.waiting = look.waiting;
        for waiting in &mut self.waiting {
            waiting.closer = self.closers.get(&waiting.direction).copied();
        }
    }

    /// Time goes on: rates are of the last second or more.
    pub fn tick(&mut self, now: Instant) {
        let elapsed = now.duration_since(self.counted_since).as_secs_f64();
        if elapsed >= 1.0 {
            self.rates = self.counting.map(|number| number as f64 / elapsed);
            self.counting = [0; 9];
            self.counted_since = now;
        }
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Answer {
        if key.kind == KeyEventKind::Release {
            return Answer::GoOn;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Answer::Quit;
        }
        if self.typing.is_some() {
            self.type_key(key.code);
            return Answer::GoOn;
        }
        if self.opened.is_some() {
            if matches!(key.code, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q')) {
                self.opened = None;
            }
            return Answer::GoOn;
        }
        self.complaint = None;
        match key.code {
            KeyCode::Char('q') => return Answer::Quit,
            KeyCode::Tab => self.switch(),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(10),
            KeyCode::PageUp => self.step(-10),
            KeyCode::Home => self.row = 0,
            KeyCode::Char('s') => self.sort(),
            KeyCode::Char('/') => self.typing = Some(String::new()),
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Enter if self.pane == Pane::Latest => {
                let ending = self.endings().get(self.row).map(|e| (*e).clone());
                self.opened = ending.map(Box::new);
            }
            _ => {}
        }
        Answer::GoOn
    }

    fn type_key(&mut self, key: KeyCode) {
        let Some(text) = &mut self.typing else { return };
        match key {
            KeyCode::Char(c) => text.push(c),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Esc => self.typing = None,
            KeyCode::Enter => {
                match Filter::parse(text) {
                    Ok(filter) => {
                        self.latest.retain(|ending| filter.admits(ending));
                        self.filter = filter;
                        self.row = 0;
                    }
                    Err(complaint) => self.complaint = Some(complaint),
                }
                self.typing = None;
            }
            _ => {}
        }
    }

    fn switch(&mut self) {
        self.row = 0;
        self.pane = match self.pane {
            Pane::Latest => Pane::Offenders,
            Pane::Offenders => Pane::Stuck,
            Pane::Stuck => Pane::Latest,
        };
    }

    fn step(&mut self, by: isize) {
        let rows = match self.pane {
            Pane::Latest => self.latest.len(),
            Pane::Offenders => self.tallies.len(),
            Pane::Stuck => self.stuck.len() + self.waiting.len(),
        };
        self.row = self
            .row
            .saturating_add_signed(by)
            .min(rows.saturating_sub(1));
    }

    fn sort(&mut self) {
        match self.pane {
            Pane::Latest => self.by_lost = !self.by_lost,
            Pane::Offenders | Pane::Stuck => {
                self.order = match self.order {
                    Order::Lost => Order::ResetsSent,
                    Order::ResetsSent => Order::ResetsGot,
                    Order::ResetsGot => Order::Endings,
                    Order::Endings => Order::Lost,
                }
            }
        }
    }

    /// The latest endings as they are shown.
    fn endings(&self) -> Vec<&Ending> {
        let mut endings: Vec<_> = self.latest.iter().collect();
        if self.by_lost {
            endings.sort_by_key(|e| std::cmp::Reverse(e.bytes.lost));
        }
        endings
    }

    /// The offenders as they are shown.
    fn offenders(&self) -> Vec<(Process, Tally)> {
        let mut all: Vec<_> = self.tallies.iter().map(|(p, t)| (*p, *t)).collect();
        all.sort_by_key(|(process, t)| {
            let key = match self.order {
                Order::Lost => t.lost,
                Order::ResetsSent => t.resets_sent,
                Order::ResetsGot => t.resets_got,
                Order::Endings => t.endings,
            };
            (
                std::cmp::Reverse(key),
                std::cmp::Reverse(t.endings),
                *process,
            )
        });
        all
    }
}
