//! What the shims ask for.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lastbyte_run_protocol::{Kind, Request, flag};

use super::Supervisor;
use crate::channel::{Arrival, Delivery, Sender};
use crate::descriptor_budget::Held;
use crate::events::Source;
use crate::exiting::Watched;
use crate::holder_search::{AFTER_EXEC, AFTER_EXIT};
use crate::let_go::LetGo;
use crate::messages;
use crate::program::Obstacle;

/// Programs reported to be uncovered, at most.
const REPORTED_MOST: usize = 1000;
/// Connections that are remembered as ended.
const ENDED: usize = 1 << 16;
/// More messages than the channel's buffer holds at a time.
const ALL: usize = 4096;

/// What its sender says of letting go.
fn let_go(delivery: &Delivery) -> LetGo {
    LetGo {
        request: delivery.request,
        process: delivery.sender,
        user: delivery.user,
    }
}

impl Supervisor {
    /// Takes all that is in the channel now.
    pub(super) fn receive_all(&mut self) {
        self.receive_some(ALL);
    }

    /// Takes so many messages at most.
    pub(super) fn receive_some(&mut self, most: usize) {
        for _ in 0..most {
            if !self.receive_one() {
                return;
            }
        }
    }

    /// Takes one message. False if there was none.
    fn receive_one(&mut self) -> bool {
        match self.inbox.receive(&self.events) {
            Ok(Arrival::Delivery(delivery, others)) => {
                self.discard(delivery.user, others);
                self.serve(delivery);
            }
            Ok(Arrival::Malformed(malformed, sender, sockets)) => {
                self.discard(sender.user, sockets);
                messages::print_limited(format_args!(
                    "process {} sent what is no request: {malformed:?}",
                    sender.process
                ));
            }
            Ok(Arrival::Nothing | Arrival::End) => return false,
            Err(error) => {
                messages::print(format_args!(
                    "cannot read the channel to the program, whose closes are the kernel's own \
                     from now on: {error}"
                ));
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
                    .user_closers
                    .of(user)
                    .is_some_and(|closer| closer.holder_search().ask(request, sender));
                if !is_asked {
                    // It cannot be excluded, then.
                    self.ledger.mapping.answer(&request, 1);
                }
            }
            Kind::Uncovered => {
                self.discard(user, delivery.socket.into_iter().collect());
                self.report_uncovered(&request, sender);
            }
            Kind::Opened | Kind::HalfClosed | Kind::Closes => {
                self.discard(user, delivery.socket.into_iter().collect());
                let process = sender;
                return self.note(&request, Sender { process, user });
            }
            Kind::End => self.end(delivery),
            Kind::EndUnlessHeld => {
                self.let_go.note(delivery.cookie, let_go(&delivery));
                self.end_unless_held(delivery, AFTER_EXEC);
            }
            Kind::EndAfterExit => {
                self.let_go.note(delivery.cookie, let_go(&delivery));
                self.wait_for_exit(delivery);
            }
        }
        self.update_capacity();
    }

    /// What is held, by user.
    fn held(&self) -> Held {
        let mut held = Held::new();
        for (user, count) in self.user_closers.held().chain(self.exiting.held()) {
            *held.entry(user).or_default() += count;
        }
        held
    }

    /// Tells the shims whether we can take more, and reads no further where not even
    /// what is refused would find a descriptor.
    pub(super) fn update_capacity(&mut self) {
        let held = self.held();
        let control = self.ledger.mapping.control();
        self.capacity.update(&held, control, Instant::now());
        let is_exhausted = self.capacity.is_exhausted();
        self.ledger
            .is_awaited
            .store(is_exhausted, Ordering::Release);
        self.inbox.pause(&self.events, is_exhausted);
    }

    /// Has what nobody asked for closed by the thread of whoever sent it.
    fn discard(&mut self, user: u32, descriptors: Vec<OwnedFd>) {
        for descriptor in descriptors {
            match self.user_closers.of(user) {
                Some(closer) => closer.drop(descriptor),
                None => self.user_closers.keep(user, descriptor),
            }
        }
    }

    fn end(&mut self, delivery: Delivery) {
        if delivery.cookie != 0 {
            self.remember_end(delivery.cookie);
            self.let_go.forget(delivery.cookie);
            let forgotten = self.exiting.forget(delivery.cookie);
            for process in forgotten {
                self.discard(process.user, process.socket.into_iter().collect());
            }
            self.user_closers.forget(delivery.cookie);
        }
        let user = delivery.user;
        let has_room = !self.capacity.must_refuse(user, &self.held());
        match self.user_closers.of(user) {
            Some(closer) if has_room => closer.end(delivery),
            Some(closer) => closer.refuse(delivery),
            None => {
                self.ledger.mapping.answer(&delivery.request, 0);
                if let Some(socket) = delivery.socket {
                    self.user_closers.keep(user, socket);
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

    /// Ends what no process holds any more. Who closed it as the last, while holders were
    /// searched for, has said so in the channel.
    pub(super) fn end_unheld(&mut self) {
        let unheld = std::mem::take(&mut *self.ledger.unheld());
        if unheld.is_empty() {
            return;
        }
        self.receive_all();
        for delivery in unheld {
            if delivery.cookie != 0 && self.ended.contains(&delivery.cookie) {
                self.discard(delivery.user, delivery.socket.into_iter().collect());
            } else {
                let last = self.last_to_let_go(delivery);
                self.end(last);
            }
        }
    }

    /// As whoever let go of it last sent it.
    fn last_to_let_go(&mut self, mut delivery: Delivery) -> Delivery {
        let own = let_go(&delivery);
        let last = self.let_go.last(delivery.cookie, own, delivery.held_at);
        delivery.request = last.request;
        delivery.sender = last.process;
        delivery
    }

    fn wait_for_exit(&mut self, delivery: Delivery) {
        if self.capacity.must_refuse(delivery.user, &self.held()) {
            return self.end(delivery);
        }
        match self.exiting.add(delivery) {
            Watched::Another => {}
            Watched::Now(delivery) => self.end_unless_held(delivery, AFTER_EXEC),
            // Its exit closes the connection.
            Watched::Unwatched(delivery) => {
                self.discard(delivery.user, delivery.socket.into_iter().collect());
            }
            Watched::First(process) => {
                let (fd, pid) = (process.process.as_raw_fd(), process.pid);
                if self.events.add(fd, Source::Process(pid)).is_err() {
                    for delivery in self.exiting.take(pid) {
                        self.discard(delivery.user, delivery.socket.into_iter().collect());
                    }
                }
            }
        }
    }

    pub(super) fn end_after_exit(&mut self, pid: libc::pid_t) {
        for delivery in self.exiting.take(pid) {
            if delivery.request.flags & flag::MAY_BE_HELD == 0 {
                self.end(delivery);
            } else {
                self.end_unless_held(delivery, AFTER_EXIT);
            }
        }
    }

    fn end_unless_held(&mut self, delivery: Delivery, times: &'static [Duration]) {
        let user = delivery.user;
        let has_room = !self.capacity.must_refuse(user, &self.held());
        match self.user_closers.of(user) {
            Some(closer) if has_room => closer.end_unless_held(delivery, times),
            _ => self.discard(user, delivery.socket.into_iter().collect()),
        }
    }

    fn report_uncovered(&mut self, request: &Request, sender: libc::pid_t) {
        let obstacle = Obstacle::new(request.flags);
        // A program's own text on somebody's terminal.
        let name = String::from_utf8_lossy(request.name())
            .escape_debug()
            .to_string();
        if self.reported.len() < REPORTED_MOST
            && self.reported.insert((name.clone(), request.flags))
        {
            let text = format!("{name} (process {sender}) {obstacle}");
            messages::print_limited(format_args!("{text}; its closes are the kernel's own"));
            self.uncovered.push(text);
        }
    }
}
