//! The loop: what arrives is handed to the clerk of its user, signals are passed on,
//! the program is waited for.
//!
//! It touches no socket of the program's, because a hostile one could make that wait.

use std::collections::HashSet;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lastbyte_handoff::{Kind, Left as Reason, Override, Request, flag};

use crate::account::{Account, Parts};
use crate::book::Book;
use crate::channel::{Arrival, Channel, Delivery, Sender};
use crate::clerk::Clerks;
use crate::detach::Behind;
use crate::events::{Events, Source};
use crate::heirs::{Heirs, Inherited};
use crate::last_word::Notice;
use crate::looks::{AFTER_EXEC, AFTER_EXIT};
use crate::program::Obstacle;
use crate::record::{Found, Known, Left, Origin};
use crate::room::{Held, Room};
use crate::signals::Signals;
use crate::tell;
use crate::witness::{Witness, monotonic};
use crate::{Outcome, family, waiting};

/// How long not to look where no event tells.
const LOOK: Duration = Duration::from_millis(50);
/// How long there may be no descriptors to read with before all programs are told.
const STUCK: Duration = Duration::from_millis(200);
/// Programs said to be uncovered, at most.
const TOLD: usize = 1000;
/// Messages taken before signals are looked at again.
const BATCH: usize = 256;
/// More messages than the channel's buffer holds at a time.
const ALL: usize = 4096;
/// Connections that are remembered as ended.
const ENDED: usize = 1 << 16;
/// How long the kernel's notices of what it closes are waited for at the end.
const SETTLE: Duration = Duration::from_secs(1);

/// What a desk begins with.
pub(crate) struct State {
    pub(crate) channel: Channel,
    pub(crate) signals: Signals,
    pub(crate) events: Events,
    pub(crate) clerks: Clerks,
    pub(crate) book: Arc<Book>,
    pub(crate) linger: Override,
    pub(crate) room: Room,
    pub(crate) child: libc::pid_t,
    pub(crate) uncovered: Vec<String>,
    /// Where somebody observes.
    pub(crate) witness: Option<Witness>,
    /// Where the command returns with the program.
    pub(crate) behind: Option<Behind>,
}

pub(crate) struct Desk {
    /// Never dropped but with the process: sockets that lie in it would be closed in
    /// the call, with the wait that their linger options ask for.
    channel: ManuallyDrop<Channel>,
    signals: Signals,
    events: Events,
    clerks: Clerks,
    book: Arc<Book>,
    linger: Override,
    room: Room,
    heirs: Heirs,
    told: HashSet<(String, u32)>,
    /// Programs without a shim, and why, as they are said.
    uncovered: Vec<String>,
    behind: Option<Behind>,
    /// The command has returned, and this process goes on.
    is_behind: bool,
    witness: Option<Witness>,
    /// The cookies of connections that were given to the closers.
    ended: HashSet<u64>,
    /// Notices that came before the messages could be read that explain them.
    notices: Vec<Notice>,
    full_users: HashSet<u32>,
    is_full: bool,
    is_full_said: bool,
    child: libc::pid_t,
    status: Option<u8>,
    channel_is_open: bool,
    /// Nothing new is taken any more.
    has_given_up: bool,
    /// There are no descriptors to read with.
    is_crammed: bool,
    crammed_since: Option<Instant>,
    /// Whether the channel is waited for.
    listens: bool,
}

impl Desk {
    pub(crate) fn new(state: State) -> Self {
        Self {
            channel: ManuallyDrop::new(state.channel),
            signals: state.signals,
            events: state.events,
            clerks: state.clerks,
            book: state.book,
            linger: state.linger,
            room: state.room,
            heirs: Heirs::default(),
            told: HashSet::new(),
            uncovered: state.uncovered,
            witness: state.witness,
            behind: state.behind,
            is_behind: false,
            ended: HashSet::new(),
            notices: Vec::new(),
            full_users: HashSet::new(),
            is_full: false,
            is_full_said: false,
            child: state.child,
            status: None,
            channel_is_open: true,
            has_given_up: false,
            is_crammed: false,
            crammed_since: None,
            listens: true,
        }
    }

    pub(crate) fn sit(mut self, follow: bool, patience: Duration) -> Outcome {
        let mut is_told_to_go = false;
        // Once the program is gone, a signal ends the stay for its descendants too.
        while self.status.is_none() || follow && self.channel_is_open && !is_told_to_go {
            is_told_to_go = self.turn(None);
        }
        let give_up = Instant::now() + patience;
        let mut lines = waiting::Lines::new(Instant::now());
        let mut settled_by = None;
        loop {
            // What was sent before the program exited is in the channel by now.
            self.take_all();
            self.end_unheld();
            if self.clerks.is_idle() && self.heirs.is_empty() && self.book.unheld().is_empty() {
                let settled_by =
                    *settled_by.get_or_insert_with(|| (Instant::now() + SETTLE).min(give_up));
                if is_told_to_go || Instant::now() >= settled_by || !self.is_settling() {
                    break;
                }
                is_told_to_go = self.turn(Some(settled_by));
                continue;
            }
            settled_by = None;
            if give_up <= Instant::now() {
                // Descendants may go on for ever; nothing new from now on.
                self.has_given_up = true;
                self.listen();
                if self.only_endless_left() {
                    break;
                }
            }
            if is_told_to_go {
                break;
            }
            if !self.clerks.have_waiting() && !self.clerks.is_idle() {
                self.ring_when_idle();
            }
            self.say_what_is_waited_for(&mut lines, give_up);
            let until = lines.next().map_or(give_up, |next| next.min(give_up));
            is_told_to_go = self.turn(Some(until));
        }
        self.leave()
    }

    /// Says why the command stays, if somebody waits for it.
    fn say_what_is_waited_for(&self, lines: &mut waiting::Lines, give_up: Instant) {
        let now = Instant::now();
        if self.is_behind || !lines.is_due(now) {
            return;
        }
        let undelivered = self.book.page().open.len();
        let all: usize = self.clerks.held().map(|(_, count)| count).sum();
        tell::say(waiting::Reason {
            undelivered,
            held: all.saturating_sub(undelivered),
            at_most: give_up.saturating_duration_since(now),
        });
    }

    /// Waits for something and does it. True if a signal asks us to stop waiting.
    fn turn(&mut self, until: Option<Instant>) -> bool {
        // Nothing tells when there is room again, nor, past `until`, which fates are known.
        let soon = Instant::now() + LOOK;
        let is_short = self.is_full || self.is_crammed || !self.full_users.is_empty();
        let time = until
            .map(|until| until.max(soon))
            .into_iter()
            .chain((is_short || until.is_some() && self.clerks.have_waiting()).then_some(soon))
            .min()
            .map(|until| until.saturating_duration_since(Instant::now()));
        let mut stop = false;
        let mut gone = Vec::new();
        for source in self.events.wait(time) {
            match source {
                Source::Signals => stop |= self.attend_signals(),
                // It has woken us, which is all.
                Source::Bell => drop(self.book.bell_rang()),
                Source::Channel => {
                    // Not all at once: signals must not starve.
                    let mut rest = 0..BATCH;
                    while rest.next().is_some() && self.take_one() {}
                }
                Source::Notices => self.read_notices(),
                Source::Process(pid) => gone.push(pid),
            }
        }
        self.end_unheld();
        self.attend_notices();
        // After the channel: who has closed one of these as the last has said so there.
        for pid in gone {
            self.end_heirs(pid);
        }
        self.look_for_room();
        stop
    }

    /// Takes all that is in the channel now.
    fn take_all(&mut self) {
        let mut rest = 0..ALL;
        while rest.next().is_some() && self.take_one() {}
    }

    fn read_notices(&mut self) {
        if let Some(witness) = &mut self.witness {
            // One is of ours only if it was announced, and the announcement may be in the
            // channel still.
            witness.drain(|_| true, &mut self.notices);
        }
    }

    /// Writes down what the kernel said. Whatever was announced before a socket's end is
    /// in the channel when the notice is here.
    fn attend_notices(&mut self) {
        if self.notices.is_empty() || self.channel_is_open && !self.listens {
            return;
        }
        self.take_all();
        let now = monotonic();
        let mut page = self.book.page();
        for notice in std::mem::take(&mut self.notices) {
            if !page.connections.knows(notice.cookie) {
                continue;
            }
            let reason = |process| {
                if family::is_alive(process) {
                    Reason::Unseen
                } else {
                    Reason::Ended
                }
            };
            if let Some((origin, fate)) = page.connections.destroyed(&notice, now, reason) {
                self.book.write(&mut page, origin, fate);
            }
        }
    }

    /// Whether the kernel's notice of something that it closes is still to come.
    fn is_settling(&self) -> bool {
        self.witness.is_some() && self.book.page().connections.is_settling(family::is_alive)
    }

    /// What is held, by user.
    fn held(&self) -> Held {
        let mut held = Held::new();
        for (user, count) in self.clerks.held().chain(self.heirs.held()) {
            *held.entry(user).or_default() += count;
        }
        held
    }

    /// Tells the shims whether we can take more, and reads no further where not even
    /// what is refused would find a descriptor.
    fn look_for_room(&mut self) {
        let held = self.held();
        let is_crammed = self.room.is_crammed(&held);
        // Soon over, unless who should close what was refused is blocked.
        self.crammed_since = is_crammed.then(|| self.crammed_since.unwrap_or_else(Instant::now));
        let is_stuck = self
            .crammed_since
            .is_some_and(|since| since.elapsed() > STUCK);
        let is_full = self.room.is_full(&held) || is_stuck;
        let control = self.book.mapping.control();
        if is_full != self.is_full {
            self.is_full = is_full;
            control.set_full(is_full);
        }
        for user in held.keys().chain(&self.full_users.clone()) {
            let is_full = self.room.is_full_for(*user, &held);
            if is_full != self.full_users.contains(user) {
                control.set_full_for(*user, is_full);
                if is_full {
                    self.full_users.insert(*user);
                } else {
                    self.full_users.remove(user);
                }
            }
        }
        if !self.full_users.is_empty() && !self.is_full_said {
            self.is_full_said = true;
            tell::say(format_args!(
                "{} connections are being ended, and there are descriptors for no more; \
                 until some are done, closes are the kernel's own (raise ulimit -Hn)",
                held.values().sum::<usize>()
            ));
        }
        self.book.is_awaited.store(is_crammed, Ordering::Release);
        if is_crammed != self.is_crammed {
            self.is_crammed = is_crammed;
            self.listen();
        }
    }

    /// Waits for messages, or no longer does.
    fn listen(&mut self) {
        let wanted = self.channel_is_open && !self.is_crammed && !self.has_given_up;
        if wanted == self.listens {
            return;
        }
        let fd = self.channel.as_raw_fd();
        if wanted {
            self.listens = self.events.add(fd, Source::Channel).is_ok();
        } else {
            self.events.remove(fd);
            self.listens = false;
        }
    }

    /// True if a signal asks us to stop waiting.
    fn attend_signals(&mut self) -> bool {
        let mut stop = false;
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
                stop |= signal.ends_a_wait();
            } else if signal.is_for_program {
                // Our own child, not reaped yet.
                signal.pass_on(self.child);
            }
        }
        stop
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
                if let Some(behind) = self.behind.take() {
                    behind.release(status);
                    self.is_behind = true;
                }
            }
        }
    }

    /// Takes one message. False if there was none.
    fn take_one(&mut self) -> bool {
        if !self.listens {
            return false;
        }
        match self.channel.take() {
            Ok(Arrival::Delivery(delivery, others)) => {
                self.discard(delivery.user, others);
                self.serve(delivery);
            }
            Ok(Arrival::Malformed(malformed, sender, sockets)) => {
                self.discard(sender.user, sockets);
                tell::say_of_programs(format_args!(
                    "process {} sent what is no request: {malformed:?}",
                    sender.process
                ));
            }
            Ok(Arrival::Nothing) => return false,
            Ok(Arrival::End) => {
                self.channel_is_open = false;
                self.listen();
                return false;
            }
            Err(error) => {
                tell::say(format_args!(
                    "cannot read the channel to the program, whose closes are the kernel's own \
                     from now on: {error}"
                ));
                self.channel_is_open = false;
                self.listen();
                return false;
            }
        }
        true
    }

    fn serve(&mut self, delivery: Delivery) {
        let Delivery {
            request,
            sender,
            user,
            ..
        } = delivery;
        match request.kind {
            Kind::Shared => {
                self.discard(user, delivery.socket.into_iter().collect());
                let is_asked = self
                    .clerks
                    .of(user)
                    .is_some_and(|clerk| clerk.looks().ask(request, sender));
                if !is_asked {
                    // It cannot be excluded, then.
                    self.book.mapping.answer(&request, 1);
                }
            }
            Kind::Uncovered => {
                self.discard(user, delivery.socket.into_iter().collect());
                self.tell_uncovered(&request, sender);
            }
            Kind::Opened | Kind::HalfClosed | Kind::Closes => {
                self.discard(user, delivery.socket.into_iter().collect());
                let process = sender;
                return self.note(&request, Sender { process, user });
            }
            Kind::End => self.end(delivery),
            Kind::EndUnlessHeld => self.end_unless_held(delivery, AFTER_EXEC),
            Kind::EndAfterExit => self.wait_for_exit(delivery),
        }
        self.look_for_room();
    }

    /// Takes note of a connection that the kernel closes, or will.
    fn note(&mut self, request: &Request, sender: Sender) {
        let Some(witness) = &mut self.witness else {
            return;
        };
        let book = Arc::clone(&self.book);
        match request.kind {
            Kind::Opened => {
                let addresses = witness.confirm(request, sender);
                book.page().connections.opened(request, sender, addresses);
            }
            Kind::HalfClosed => book.page().connections.half_closed(request, sender),
            _ => {
                let mut page = book.page();
                let is_holder = || witness.is_holder(request, sender);
                let over = page.connections.closes(request, sender, is_holder);
                if let Some((origin, fate)) = over {
                    book.write(&mut page, origin, fate);
                }
            }
        }
    }

    /// Has what nobody asked for closed by the thread of whoever sent it.
    fn discard(&mut self, user: u32, descriptors: Vec<OwnedFd>) {
        for descriptor in descriptors {
            match self.clerks.of(user) {
                Some(clerk) => clerk.drop(descriptor),
                None => self.clerks.keep(user, descriptor),
            }
        }
    }

    fn end(&mut self, delivery: Delivery) {
        if delivery.cookie != 0 {
            self.remember_end(delivery.cookie);
            let forgotten = self.heirs.forget(delivery.cookie);
            for heir in forgotten {
                self.discard(heir.user, heir.socket.into_iter().collect());
            }
            self.clerks.forget(delivery.cookie);
        }
        let user = delivery.user;
        let has_room = !self.room.must_refuse(user, &self.held());
        match self.clerks.of(user) {
            Some(clerk) if has_room => clerk.end(delivery),
            Some(clerk) => clerk.refuse(delivery),
            None => {
                self.book.mapping.answer(&delivery.request, 0);
                if let Some(socket) = delivery.socket {
                    self.clerks.keep(user, socket);
                }
            }
        }
    }

    /// A connection is ended once, however many processes sent it.
    fn remember_end(&mut self, cookie: u64) {
        if self.ended.len() >= ENDED {
            self.ended.clear();
        }
        self.ended.insert(cookie);
    }

    /// Ends what no process holds any more. Who closed it as the last, while it was looked
    /// for holders, has said so in the channel.
    fn end_unheld(&mut self) {
        let unheld = std::mem::take(&mut *self.book.unheld());
        if unheld.is_empty() {
            return;
        }
        self.take_all();
        for delivery in unheld {
            if delivery.cookie != 0 && self.ended.contains(&delivery.cookie) {
                self.discard(delivery.user, delivery.socket.into_iter().collect());
            } else {
                self.end(delivery);
            }
        }
    }

    fn wait_for_exit(&mut self, delivery: Delivery) {
        if self.room.must_refuse(delivery.user, &self.held()) {
            return self.end(delivery);
        }
        match self.heirs.add(delivery) {
            Inherited::Another => {}
            Inherited::Now(delivery) => self.end_unless_held(delivery, AFTER_EXEC),
            // Its exit closes the connection.
            Inherited::Unwatched(delivery) => {
                self.discard(delivery.user, delivery.socket.into_iter().collect());
            }
            Inherited::First(heir) => {
                let (fd, pid) = (heir.process.as_raw_fd(), heir.pid);
                if self.events.add(fd, Source::Process(pid)).is_err() {
                    for delivery in self.heirs.take(pid) {
                        self.discard(delivery.user, delivery.socket.into_iter().collect());
                    }
                }
            }
        }
    }

    fn end_heirs(&mut self, pid: libc::pid_t) {
        for delivery in self.heirs.take(pid) {
            if delivery.request.flags & flag::MAY_BE_HELD == 0 {
                self.end(delivery);
            } else {
                self.end_unless_held(delivery, AFTER_EXIT);
            }
        }
    }

    fn end_unless_held(&mut self, delivery: Delivery, times: &'static [Duration]) {
        let user = delivery.user;
        let has_room = !self.room.must_refuse(user, &self.held());
        match self.clerks.of(user) {
            Some(clerk) if has_room => clerk.end_unless_held(delivery, times),
            _ => self.discard(user, delivery.socket.into_iter().collect()),
        }
    }

    fn tell_uncovered(&mut self, request: &Request, sender: libc::pid_t) {
        let obstacle = Obstacle::new(request.flags);
        // A program's own text on somebody's terminal.
        let name = String::from_utf8_lossy(request.name())
            .escape_debug()
            .to_string();
        if self.told.len() < TOLD && self.told.insert((name.clone(), request.flags)) {
            let text = format!("{name} (process {sender}) {obstacle}");
            tell::say_of_programs(format_args!("{text}; its closes are the kernel's own"));
            self.uncovered.push(text);
        }
    }

    /// Whether every fate still open is one without a deadline.
    fn only_endless_left(&self) -> bool {
        let has_deadline = |linger: &Found| match self.linger {
            Override::None => linger.l_onoff != 0 && linger.l_linger > 0,
            Override::Wait(_) => true,
            Override::Off | Override::Abort => false,
        };
        !self
            .book
            .page()
            .open
            .values()
            .any(|(origin, _)| origin.linger.as_ref().is_some_and(has_deadline))
    }

    /// Has the bell rung when no closer has anything in flight.
    fn ring_when_idle(&self) {
        if self.book.is_idle_awaited.swap(true, Ordering::AcqRel) {
            return;
        }
        let (closers, book) = (self.clerks.closers(), Arc::clone(&self.book));
        let watcher = std::thread::Builder::new()
            .name("lastbyte-idle".to_owned())
            .spawn(move || {
                for closer in closers {
                    while !closer.wait_idle(Duration::from_secs(3600)) {}
                }
                book.is_idle_awaited.store(false, Ordering::Release);
                book.ring();
            });
        if watcher.is_err() {
            self.book.is_idle_awaited.store(false, Ordering::Release);
        }
    }

    fn leave(mut self) -> Outcome {
        let mut page = self.book.page();
        let left: Vec<(Origin, Instant)> = page.open.drain().map(|(_, open)| open).collect();
        if !left.is_empty() {
            tell::say(format_args!(
                "{} without an end yet left to the kernel",
                count(left.len(), "connection", "connections")
            ));
        }
        for (origin, began) in left {
            let fate = Known::Left(Left::unwatched(began.elapsed()));
            self.book.write(&mut page, origin, fate);
        }
        let mut ended = Vec::new();
        let open = page
            .connections
            .finish(family::is_alive, |one| ended.push(one));
        for (origin, fate) in ended {
            self.book.write(&mut page, origin, fate);
        }
        let sums = page.sums.clone();
        drop(page);
        if self.uncovered.is_empty() && !self.book.mapping.get().has_arrival() {
            tell::say(
                "the shim did not come up in the program, so its closes were the \
                 kernel's own; the loader's messages above may say why",
            );
            self.uncovered
                .push("the program, in which the shim did not come up".to_owned());
        }
        let descendants = family::count();
        if self.channel_is_open && descendants > 0 {
            tell::say(format_args!(
                "the program left {} behind; from now on their closes are the kernel's own \
                 (--follow stays for them)",
                count(descendants, "process", "processes")
            ));
        }
        let status = self.status.unwrap_or(u8::MAX);
        // Endings that were left go on in the closers' threads and find no log.
        self.book.is_over.store(true, Ordering::Release);
        let mut page = self.book.page();
        self.uncovered.append(&mut page.uncovered);
        let account = Account::new(Parts {
            shared: self.book.mapping.get(),
            left: page.connections.left(),
            open,
            unfollowed: page.connections.unfollowed(),
            uncovered: std::mem::take(&mut self.uncovered),
        });
        let log = page.log.take();
        drop(page);
        let log_error = log.and_then(|mut log| {
            if !account.is_whole() {
                log.write(account.clone());
            }
            log.finish().err()
        });
        Outcome {
            status,
            sums,
            account,
            log_error,
        }
    }
}

/// A wait status as a shell has it: the exit status, or 128 and the signal's number.
pub(crate) fn status_of(wait_status: libc::c_int) -> u8 {
    let code = if libc::WIFSIGNALED(wait_status) {
        128 + libc::WTERMSIG(wait_status)
    } else {
        libc::WEXITSTATUS(wait_status)
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
