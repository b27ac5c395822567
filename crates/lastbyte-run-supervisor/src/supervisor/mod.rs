//! The loop: what arrives is handed to the threads of its user, signals are passed on,
//! the program is waited for. `phase` says how far the run is.
//!
//! It touches no socket of the program's, because a hostile one could make that wait.

mod capacity;
mod finish;
mod inbox;
mod notices;
mod phase;
mod requests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lastbyte_run_protocol::Override;

use crate::channel::Channel;
use crate::descriptor_budget::DescriptorBudget;
use crate::detach::{Behind, status_of};
use crate::events::{Events, Source};
use crate::exiting::ExitingProcesses;
use crate::last_word::Notice;
use crate::ledger::Ledger;
use crate::let_go::LastLetGo;
use crate::record::Found;
use crate::signals::Signals;
use crate::user_closers::UserClosers;
use crate::witness::Witness;
use crate::{Outcome, descendants, messages, waiting};

use capacity::Capacity;
use inbox::Inbox;
use phase::{Facts, Phase, Stay};

/// How long not to look where no event says when to.
const LOOK: Duration = Duration::from_millis(50);
/// Messages taken before signals are looked at again.
const BATCH: usize = 256;

/// What a supervisor begins with.
pub(crate) struct State {
    pub(crate) channel: Channel,
    pub(crate) signals: Signals,
    pub(crate) events: Events,
    pub(crate) user_closers: UserClosers,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) linger: Override,
    pub(crate) budget: DescriptorBudget,
    pub(crate) child: libc::pid_t,
    pub(crate) uncovered: Vec<String>,
    /// Where somebody observes.
    pub(crate) witness: Option<Witness>,
    /// Where the command returns with the program.
    pub(crate) behind: Option<Behind>,
}

pub(crate) struct Supervisor {
    inbox: Inbox,
    signals: Signals,
    events: Events,
    user_closers: UserClosers,
    ledger: Arc<Ledger>,
    linger: Override,
    capacity: Capacity,
    exiting: ExitingProcesses,
    /// Programs that were reported to be uncovered, with their reasons.
    reported: HashSet<(String, u32)>,
    /// The same in words.
    uncovered: Vec<String>,
    front: Front,
    witness: Option<Witness>,
    /// The cookies of connections that were given to the closers.
    ended: HashSet<u64>,
    /// Who of those that share a connection let go of it last.
    let_go: LastLetGo,
    /// Notices that came before the messages could be read that explain them.
    notices: Vec<Notice>,
    child: libc::pid_t,
    status: Option<u8>,
    is_told_to_go: bool,
}

/// Who waits for the command.
enum Front {
    /// This process is the command.
    Here,
    /// Another process is, which returns with the program.
    Waits(Behind),
    /// It has returned.
    Gone,
}

impl Supervisor {
    pub(crate) fn new(state: State) -> Self {
        Self {
            inbox: Inbox::new(state.channel),
            signals: state.signals,
            events: state.events,
            user_closers: state.user_closers,
            ledger: state.ledger,
            linger: state.linger,
            capacity: Capacity::new(state.budget),
            exiting: ExitingProcesses::default(),
            reported: HashSet::new(),
            uncovered: state.uncovered,
            front: state.behind.map_or(Front::Here, Front::Waits),
            witness: state.witness,
            ended: HashSet::new(),
            let_go: LastLetGo::default(),
            notices: Vec::new(),
            child: state.child,
            status: None,
            is_told_to_go: false,
        }
    }

    pub(crate) fn run(mut self, follow: bool, patience: Duration) -> Outcome {
        let stay = Stay { follow, patience };
        let mut phase = Phase::Program;
        while phase.look_again().is_none() {
            self.step(None);
            phase = phase.next(stay, &self, Instant::now());
        }
        let mut lines = waiting::Lines::new(Instant::now());
        loop {
            // What was sent before the program exited is in the channel by now.
            self.receive_all();
            self.end_unheld();
            let now = Instant::now();
            phase = phase.next(stay, &self, now);
            let Some(look_again) = phase.look_again() else {
                return self.finish();
            };
            if phase.has_given_up(now) {
                self.inbox.stop(&self.events);
            }
            let mut until = look_again;
            if let Phase::Endings { give_up } = phase {
                if !self.user_closers.have_waiting() && !self.user_closers.is_idle() {
                    self.wake_when_idle();
                }
                self.print_what_is_waited_for(&mut lines, give_up, now);
                until = lines.next().map_or(until, |next| next.min(until));
            }
            self.step(Some(until));
        }
    }

    /// Says why the command stays, if somebody waits for it.
    fn print_what_is_waited_for(&self, lines: &mut waiting::Lines, give_up: Instant, now: Instant) {
        if matches!(self.front, Front::Gone) || !lines.is_due(now) {
            return;
        }
        let undelivered = self.ledger.entries().open.len();
        let all: usize = self.user_closers.held().map(|(_, count)| count).sum();
        messages::print(waiting::Reason {
            undelivered,
            held: all.saturating_sub(undelivered),
            at_most: give_up.saturating_duration_since(now),
        });
    }

    /// Waits for something, until then at most, and does it.
    fn step(&mut self, until: Option<Instant>) {
        // Nothing says when there is room again, nor, past `until`, which fates are known.
        let soon = Instant::now() + LOOK;
        let looks_soon =
            self.capacity.is_short() || until.is_some() && self.user_closers.have_waiting();
        let time = until
            .map(|until| until.max(soon))
            .into_iter()
            .chain(looks_soon.then_some(soon))
            .min()
            .map(|until| until.saturating_duration_since(Instant::now()));
        let mut gone = Vec::new();
        for source in self.events.wait(time) {
            match source {
                Source::Signals => self.handle_signals(),
                // It has woken us, which is all.
                Source::Waker => drop(self.ledger.was_woken()),
                // Not all at once: signals must not starve.
                Source::Channel => self.receive_some(BATCH),
                Source::Notices => self.read_notices(),
                Source::Process(pid) => gone.push(pid),
            }
        }
        self.end_unheld();
        self.handle_notices();
        // After the channel: who has closed one of these as the last has said so there.
        for pid in gone {
            self.end_after_exit(pid);
        }
        self.update_capacity();
    }

    fn handle_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            if signal.number == libc::SIGCHLD {
                self.reap();
            }
            if signal.stops_us {
                // The terminal stopped the program too; the shell waits for both.
                // SAFETY: no memory involved.
                unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
            }
            if self.status.is_some() {
                self.is_told_to_go |= signal.ends_a_wait();
            } else if signal.is_for_program {
                // Our own child, not reaped yet.
                signal.pass_on(self.child);
            }
        }
    }

    /// The program, and every orphan of the run.
    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: room for a status.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid <= 0 {
                break;
            }
            if pid == self.child {
                let status = status_of(status);
                self.status = Some(status);
                if let Front::Waits(behind) = std::mem::replace(&mut self.front, Front::Here) {
                    behind.release(status);
                    self.front = Front::Gone;
                }
            }
        }
    }

    /// Has this loop woken when no closer has anything in flight.
    fn wake_when_idle(&self) {
        if self.ledger.is_idle_awaited.swap(true, Ordering::AcqRel) {
            return;
        }
        let (closers, ledger) = (self.user_closers.closers(), Arc::clone(&self.ledger));
        let watcher = std::thread::Builder::new()
            .name("lastbyte-idle".to_owned())
            .spawn(move || {
                for closer in closers {
                    while !closer.wait_idle(Duration::from_secs(3600)) {}
                }
                ledger.is_idle_awaited.store(false, Ordering::Release);
                ledger.wake();
            });
        if watcher.is_err() {
            self.ledger.is_idle_awaited.store(false, Ordering::Release);
        }
    }
}

impl Facts for Supervisor {
    fn program_has_ended(&self) -> bool {
        self.status.is_some()
    }

    fn is_told_to_go(&self) -> bool {
        self.is_told_to_go
    }

    fn channel_is_open(&self) -> bool {
        self.inbox.is_open()
    }

    fn is_idle(&self) -> bool {
        self.user_closers.is_idle() && self.exiting.is_empty() && self.ledger.unheld().is_empty()
    }

    fn only_endless_left(&self) -> bool {
        let has_deadline = |linger: &Found| match self.linger {
            Override::None => linger.l_onoff != 0 && linger.l_linger > 0,
            Override::Wait(_) => true,
            Override::Off | Override::Abort => false,
        };
        !self
            .ledger
            .entries()
            .open
            .values()
            .any(|(origin, _)| origin.linger.as_ref().is_some_and(has_deadline))
    }

    fn is_settling(&self) -> bool {
        self.witness.is_some()
            && self
                .ledger
                .entries()
                .connections
                .is_settling(descendants::is_alive)
    }
}
