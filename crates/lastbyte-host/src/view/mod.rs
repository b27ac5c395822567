//! The live view: what it shows and how keys change it, without a terminal.
//! [`draw`] puts it on a screen of 80×24 or more.

mod digest;
mod draw;
mod filter;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use lastbyte::Total;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::ending::Ending;
use crate::losses::Losses;
use crate::process::Process;
use crate::time_wait::Direction;
use crate::tuple::{State, Tuple};

use digest::{ByFate, Sums};

pub use digest::{Digest, Tables};
pub use draw::{Theme, draw};
pub use filter::Filter;

/// Endings kept to look at.
const LATEST: usize = 1000;
/// Processes counted; beyond, the least of them make room.
const PROCESSES: usize = 2048;
/// Stuck sockets, and directions with TIME_WAIT, listed.
const STUCK: usize = 500;
/// The largest of those directions, listed before the stuck sockets.
const PILES: usize = 2;
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

impl Pane {
    const fn index(self) -> usize {
        self as usize
    }

    const fn next(self) -> Self {
        match self {
            Self::Latest => Self::Offenders,
            Self::Offenders => Self::Stuck,
            Self::Stuck => Self::Latest,
        }
    }
}

/// What stuck sockets are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StuckOrder {
    Age,
    Queued,
    Owner,
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
    lost: Total,
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

impl Waiting {
    fn ports(&self) -> [u16; 1] {
        match self.direction {
            Direction::Out { to, .. } => [to.port],
            Direction::In { on } => [on.port],
        }
    }
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To go on.
    GoOn,
    /// To end.
    Quit,
}

/// What the screen shows, and how the user has arranged it.
#[derive(Debug)]
pub struct Model {
    notes: Vec<String>,
    total: u64,
    /// Since the start, of every ending.
    all: Sums,
    /// Since the filter was set, of those it admits.
    admitted: Sums,
    /// Endings by fate in this second and the second before, as far as the filter
    /// admits them; the last slot is for unknown fates.
    counting: ByFate,
    rates: [f64; 9],
    counted_since: Instant,
    latest: VecDeque<Ending>,
    closers: HashMap<Direction, Process>,
    stuck: Vec<StuckRow>,
    stuck_in_all: usize,
    waiting: Vec<Waiting>,
    waiting_in_all: u64,
    /// Whether what is stuck was looked at with this filter.
    looked: bool,
    losses: Losses,
    pane: Pane,
    /// The selected row of each pane, and whether it is sorted the other way round.
    rows: [usize; 3],
    reversed: [bool; 3],
    order: Order,
    stuck_order: StuckOrder,
    by_lost: bool,
    filter: Filter,
    /// When it was set.
    filter_since: SystemTime,
    help: bool,
    zoomed: bool,
    typing: Option<String>,
    complaint: Option<String>,
    opened: Option<Box<Ending>>,
    paused: bool,
}

impl Model {
    /// Makes the model of a watch that has these notes.
    #[must_use]
    pub fn new(notes: Vec<String>) -> Self {
        Self {
            notes,
            total: 0,
            all: Sums::default(),
            admitted: Sums::default(),
            counting: [0; 9],
            rates: [0.0; 9],
            counted_since: Instant::now(),
            latest: VecDeque::with_capacity(LATEST),
            closers: HashMap::new(),
            stuck: Vec::new(),
            stuck_in_all: 0,
            waiting: Vec::new(),
            waiting_in_all: 0,
            looked: false,
            losses: Losses::default(),
            pane: Pane::Latest,
            rows: [0; 3],
            reversed: [false; 3],
            order: Order::Lost,
            stuck_order: StuckOrder::Age,
            by_lost: false,
            filter: Filter::default(),
            filter_since: SystemTime::now(),
            help: false,
            zoomed: false,
            typing: None,
            complaint: None,
            opened: None,
            paused: false,
        }
    }

    /// Returns the filter that the user has set.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Takes over what has come since the last time.
    pub fn digest(&mut self, digest: Digest) {
        self.total += digest.all.by_fate.iter().sum::<u64>();
        // What was summed up for another filter says nothing of this one.
        if digest.filter == self.filter {
            for (counting, number) in self.counting.iter_mut().zip(digest.admitted.by_fate) {
                *counting += number;
            }
            self.admitted.add(digest.admitted);
        }
        self.all.add(digest.all);
        for (direction, process) in digest.closers {
            if self.closers.len() < CLOSERS || self.closers.contains_key(&direction) {
                self.closers.insert(direction, process);
            }
        }
        if let Some(tables) = digest.tables {
            self.tables(tables);
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
        let row = &mut self.rows[Pane::Latest.index()];
        if *row > 0 && !self.by_lost && !self.reversed[Pane::Latest.index()] {
            *row = (*row + more).min(self.latest.len().saturating_sub(1));
        }
    }

    fn tables(&mut self, tables: Tables) {
        self.losses = tables.losses;
        self.looked = tables.filter == self.filter;
        if !self.looked {
            return;
        }
        self.stuck = tables.stuck;
        self.stuck_in_all = tables.stuck_in_all;
        self.waiting = tables.waiting;
        for waiting in &mut self.waiting {
            waiting.closer = self.closers.get(&waiting.direction).copied();
        }
        let filter = &self.filter;
        self.waiting
            .retain(|waiting| filter.admits_socket(&waiting.ports(), waiting.closer));
        self.waiting_in_all = match filter.is_empty() {
            true => tables.waiting_in_all,
            false => self.waiting.iter().map(|waiting| waiting.number).sum(),
        };
        self.stop_at_the_end(Pane::Stuck);
    }

    /// Works out the rates again, once a second or more has passed.
    pub fn tick(&mut self, now: Instant) {
        let elapsed = now.duration_since(self.counted_since).as_secs_f64();
        if elapsed >= 1.0 {
            self.rates = self.counting.map(|number| number as f64 / elapsed);
            self.counting = [0; 9];
            self.counted_since = now;
        }
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent) -> Answer {
        if key.kind == KeyEventKind::Release {
            return Answer::GoOn;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Answer::Quit;
        }
        if let Some(text) = &mut self.typing {
            if key.code == KeyCode::Char('u') && key.modifiers.contains(KeyModifiers::CONTROL) {
                text.clear();
                return Answer::GoOn;
            }
            self.type_key(key.code);
            return Answer::GoOn;
        }
        if std::mem::take(&mut self.help) {
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
            KeyCode::Tab => self.pane = self.pane.next(),
            KeyCode::BackTab => self.pane = self.pane.next().next(),
            KeyCode::Char('1') => self.pane = Pane::Latest,
            KeyCode::Char('2') => self.pane = Pane::Offenders,
            KeyCode::Char('3') => self.pane = Pane::Stuck,
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(10),
            KeyCode::PageUp => self.step(-10),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Char('s') => self.sort(),
            KeyCode::Char('r') => self.reversed[self.pane.index()] ^= true,
            KeyCode::Char('/') => self.typing = Some(self.filter.to_string()),
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('z') => self.zoomed = !self.zoomed,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Enter if self.pane == Pane::Latest => {
                let ending = self
                    .endings()
                    .get(self.row(Pane::Latest))
                    .map(|e| (*e).clone());
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
                    Ok(filter) => self.set_filter(filter),
                    Err(complaint) => self.complaint = Some(complaint),
                }
                self.typing = None;
            }
            _ => {}
        }
    }

    fn set_filter(&mut self, filter: Filter) {
        if filter == self.filter {
            return;
        }
        self.latest.retain(|ending| filter.admits(ending));
        self.admitted = Sums::default();
        self.counting = [0; 9];
        self.rates = [0.0; 9];
        self.filter = filter;
        self.filter_since = SystemTime::now();
        self.rows = [0; 3];
        // What is stuck is looked at anew.
        self.looked = false;
        self.stuck.clear();
        self.waiting.clear();
    }

    fn step(&mut self, by: isize) {
        let row = &mut self.rows[self.pane.index()];
        *row = row.saturating_add_signed(by);
        self.stop_at_the_end(self.pane);
    }

    fn stop_at_the_end(&mut self, pane: Pane) {
        let rows = match pane {
            Pane::Latest => self.latest.len(),
            Pane::Offenders => self.sums().tallies.len(),
            Pane::Stuck => self.stuck.len() + self.waiting.len(),
        };
        let row = &mut self.rows[pane.index()];
        *row = (*row).min(rows.saturating_sub(1));
    }

    fn sort(&mut self) {
        match self.pane {
            Pane::Latest => self.by_lost = !self.by_lost,
            Pane::Offenders => {
                self.order = match self.order {
                    Order::Lost => Order::ResetsSent,
                    Order::ResetsSent => Order::ResetsGot,
                    Order::ResetsGot => Order::Endings,
                    Order::Endings => Order::Lost,
                }
            }
            Pane::Stuck => {
                self.stuck_order = match self.stuck_order {
                    StuckOrder::Age => StuckOrder::Queued,
                    StuckOrder::Queued => StuckOrder::Owner,
                    StuckOrder::Owner => StuckOrder::Age,
                }
            }
        }
    }

    /// The sums that are shown.
    fn sums(&self) -> &Sums {
        match self.filter.is_empty() {
            true => &self.all,
            false => &self.admitted,
        }
    }

    fn row(&self, pane: Pane) -> usize {
        self.rows[pane.index()]
    }

    fn reversed(&self, pane: Pane) -> bool {
        self.reversed[pane.index()]
    }

    /// Sockets that are stuck, as they are shown.
    fn stuck_rows(&self) -> Vec<&StuckRow> {
        let mut rows: Vec<_> = self.stuck.iter().collect();
        match self.stuck_order {
            StuckOrder::Age => rows.sort_by_key(|row| std::cmp::Reverse(row.age)),
            StuckOrder::Queued => rows.sort_by_key(|row| std::cmp::Reverse(row.queued)),
            StuckOrder::Owner => rows.sort_by_key(|row| (row.owner.is_none(), row.owner)),
        }
        if self.reversed(Pane::Stuck) {
            rows.reverse();
        }
        rows
    }

    /// What the pane of stuck sockets has in a row: the largest piles in TIME_WAIT, each
    /// socket, the other piles.
    fn stuck_at(&self, row: usize) -> Option<Result<&Waiting, &StuckRow>> {
        let piles = self.waiting.len().min(PILES);
        let sockets = self.stuck_rows();
        if row >= piles && row - piles < sockets.len() {
            return Some(Err(sockets[row - piles]));
        }
        let pile = if row < piles {
            row
        } else {
            row - sockets.len()
        };
        self.waiting.get(pile).map(Ok)
    }

    /// The latest endings as they are shown.
    fn endings(&self) -> Vec<&Ending> {
        let mut endings: Vec<_> = self.latest.iter().collect();
        if self.by_lost {
            endings.sort_by_key(|e| std::cmp::Reverse(e.bytes.lost));
        }
        if self.reversed(Pane::Latest) {
            endings.reverse();
        }
        endings
    }

    /// The offenders as they are shown.
    fn offenders(&self) -> Vec<(Process, Tally)> {
        let mut all: Vec<_> = self.sums().tallies.iter().map(|(p, t)| (*p, *t)).collect();
        all.sort_by_key(|(process, t)| {
            let key = match self.order {
                Order::Lost => t.lost.known,
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
        if self.reversed(Pane::Offenders) {
            all.reverse();
        }
        all
    }
}
