//! What touches the sockets of one user's processes, on threads of its own.
//!
//! A process can make system calls on a socket that it shares with us wait: with a
//! linger time it sets between our look and our close, or by holding the socket's lock
//! while it sends from memory that it never supplies. So no thread that works for one
//! user ever touches another's sockets: who blocks it blocks its own closes.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use lastbyte::{Closer, Linger, LingerForm, Policy, RawLinger};
use lastbyte_run_protocol::{Left as LeftBecause, Override, Request, flag};

use crate::channel::{self, Delivery, close_without_lingering};
use crate::holder_search::HolderSearch;
use crate::ledger::Ledger;
use crate::record::{Found, Origin};
use crate::witness::monotonic;

/// What the threads of each user share.
pub(crate) struct Context {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) linger: Override,
}

pub(crate) struct UserCloser {
    work: Sender<Work>,
    holder_search: HolderSearch,
    closer: Arc<Closer>,
    /// Descriptors that the thread has not dealt with yet.
    waiting: Arc<AtomicUsize>,
}

pub(crate) enum Work {
    /// To be ended by the contract.
    End(Delivery),
    /// To be closed as the kernel would have: there was no room.
    Refuse(Delivery),
    /// What came along uncalled for.
    Drop(OwnedFd),
}

impl UserCloser {
    pub(crate) fn start(context: Arc<Context>, user: u32) -> std::io::Result<Self> {
        let closer = Closer::builder()
            .limit(1 << 20)
            .thread_name(format!("lb-close-{user}"))
            .build()?;
        let closer = Arc::new(closer);
        let waiting = Arc::new(AtomicUsize::new(0));
        let (work, inbox) = mpsc::channel();
        let holder_search =
            HolderSearch::start(user, Arc::clone(&context.ledger), Arc::clone(&waiting))?;
        let (theirs, count) = (Arc::clone(&closer), Arc::clone(&waiting));
        std::thread::Builder::new()
            .name(format!("lb-end-{user}"))
            .spawn(move || do_all(&context, &theirs, &inbox, &count))?;
        Ok(Self {
            work,
            holder_search,
            closer,
            waiting,
        })
    }

    pub(crate) fn end(&self, delivery: Delivery) {
        self.give(Work::End(delivery));
    }

    pub(crate) fn refuse(&self, delivery: Delivery) {
        self.give(Work::Refuse(delivery));
    }

    pub(crate) fn drop(&self, descriptor: OwnedFd) {
        self.give(Work::Drop(descriptor));
    }

    fn give(&self, work: Work) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if let Err(mpsc::SendError(work)) = self.work.send(work) {
            // The thread panicked. Dropping this here could block everybody.
            std::mem::forget(work);
        }
    }

    /// Has a socket ended when no process of the run holds it any more.
    pub(crate) fn end_unless_held(&self, delivery: Delivery, times: &'static [Duration]) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.holder_search.look(delivery, times);
    }

    pub(crate) fn holder_search(&self) -> &HolderSearch {
        &self.holder_search
    }

    /// Whether something waits here, and not with the closer.
    fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0 || self.holder_search.has_questions()
    }

    /// Descriptors that are held.
    pub(crate) fn held(&self) -> usize {
        self.waiting.load(Ordering::Acquire) + self.closer.in_flight()
    }

    pub(crate) fn closer(&self) -> Arc<Closer> {
        Arc::clone(&self.closer)
    }
}

fn do_all(context: &Context, closer: &Closer, inbox: &Receiver<Work>, waiting: &AtomicUsize) {
    while let Ok(work) = inbox.recv() {
        match work {
            Work::End(delivery) => context.end(closer, delivery),
            Work::Refuse(delivery) => context.refuse(delivery),
            Work::Drop(descriptor) => close_without_lingering(descriptor),
        }
        waiting.fetch_sub(1, Ordering::AcqRel);
        // The supervisor may have waited for room.
        context.ledger.wake_if_awaited();
    }
}

impl Context {
    fn end(&self, closer: &Closer, delivery: Delivery) {
        let Delivery {
            request,
            sender,
            socket,
            cookie,
            ..
        } = delivery;
        let Some(socket) = socket else {
            // No descriptor was free to receive it: the program's close was plain.
            self.ledger.mapping.get().count(LeftBecause::Full);
            self.ledger.mapping.answer(&request, 0);
            return;
        };
        if cookie != 0 && self.ledger.entries().ending.contains(&cookie) {
            // Another descriptor's close ends it already.
            close_without_lingering(socket);
            self.ledger.mapping.answer(&request, 0);
            return;
        }
        let socket = TcpStream::from(socket);
        let origin = self.origin(&request, sender, &socket);
        let number = self.ledger.begin(origin, cookie);
        let ledger = Arc::clone(&self.ledger);
        // Spent before the closer's clock starts, which the program counts too.
        let before = since(request.began);
        let policy = self.policy(&request, before);
        let submitted = closer.close_counting_input(socket, policy, move |result| {
            ledger.settle(number, cookie, &request, before, result);
            move |input| ledger.counted(number, input)
        });
        if let Err(error) = submitted {
            self.ledger
                .settle(number, cookie, &request, before, Err(error));
        }
    }

    /// Closes it as the kernel would have, but for a wait.
    fn refuse(&self, delivery: Delivery) {
        let Delivery {
            request,
            sender,
            user,
            socket,
            cookie,
            ..
        } = delivery;
        match socket {
            Some(socket) => {
                let socket = TcpStream::from(socket);
                let origin = self.origin(&request, sender, &socket);
                let linger = origin.linger;
                let from = channel::Sender {
                    process: sender,
                    user,
                };
                // The kernel's notice says what becomes of it.
                if self.ledger.observed {
                    let connections = &mut self.ledger.entries().connections;
                    connections.refused(cookie, origin, from, request.began);
                }
                if linger.is_some_and(|linger| linger.is_abort()) {
                    drop(socket);
                } else {
                    close_without_lingering(socket.into());
                }
            }
            None => self.ledger.mapping.get().count(LeftBecause::Full),
        }
        self.ledger.mapping.answer(&request, 0);
    }

    fn origin(&self, request: &Request, sender: libc::pid_t, socket: &TcpStream) -> Origin {
        // Where the kernel no longer knows it, what the program knew.
        let address = |side: usize, known: std::io::Result<SocketAddr>| {
            let reported = || channel::address(request.addresses.get(side)?);
            let is_wanted = self.ledger.observed;
            is_wanted.then(|| known.ok().or_else(reported)).flatten()
        };
        Origin {
            pid: sender,
            comm: String::from_utf8_lossy(request.name()).into_owned(),
            local: address(0, socket.local_addr()),
            remote: address(1, socket.peer_addr()),
            linger: Some(Found {
                l_onoff: request.linger.l_onoff,
                l_linger: request.linger.l_linger,
            }),
        }
    }

    fn policy(&self, request: &Request, before: Duration) -> Policy {
        let linger = match self.linger {
            Override::Off => Linger::Off,
            Override::Abort => Linger::Abort,
            Override::Wait(ms) => Linger::Wait(Duration::from_millis(ms)),
            Override::None => LingerForm::NATIVE.linger(RawLinger {
                l_onoff: request.linger.l_onoff,
                l_linger: request.linger.l_linger,
            }),
        };
        let policy = Policy::new(match linger {
            // The time counts from the program's call.
            Linger::Wait(time) => {
                Linger::Wait(time.saturating_sub(before).max(Duration::from_millis(1)))
            }
            other => other,
        });
        let has = |flag: u32| request.flags & flag != 0;
        match (has(flag::FIN_IS_OUT), has(flag::READING_IS_SHUT)) {
            (true, true) => policy.with_shut_down(Shutdown::Both),
            (true, false) => policy.with_shut_down(Shutdown::Write),
            (false, true) => policy.with_shut_down(Shutdown::Read),
            (false, false) => policy,
        }
    }
}

/// The time since a moment of CLOCK_MONOTONIC in nanoseconds; none where it is not said.
fn since(began: u64) -> Duration {
    if began == 0 {
        return Duration::ZERO;
    }
    Duration::from_nanos(monotonic().saturating_sub(began))
}

/// The closers, one for each user that has sent something.
pub(crate) struct UserClosers {
    context: Arc<Context>,
    all: std::collections::HashMap<u32, UserCloser>,
    /// Descriptors that no closer could be had for: kept open, for closing them here
    /// could block everybody.
    kept: Vec<(u32, OwnedFd)>,
}

/// Users with threads of their own, at most; beyond that nothing is ended.
const USERS: usize = 64;

impl UserClosers {
    /// With a closer for our own user, who is never without one.
    pub(crate) fn new(context: Context, own: u32) -> std::io::Result<Self> {
        let context = Arc::new(context);
        let first = UserCloser::start(Arc::clone(&context), own)?;
        Ok(Self {
            context,
            all: std::collections::HashMap::from([(own, first)]),
            kept: Vec::new(),
        })
    }

    /// The user's closer, if one is to be had.
    pub(crate) fn of(&mut self, user: u32) -> Option<&UserCloser> {
        if !self.all.contains_key(&user) && self.all.len() < USERS {
            match UserCloser::start(Arc::clone(&self.context), user) {
                Ok(closer) => drop(self.all.insert(user, closer)),
                Err(error) => crate::messages::print_limited(format_args!(
                    "cannot end connections of user {user}, which are left to the kernel: {error}"
                )),
            }
        }
        self.all.get(&user)
    }

    /// Keeps what nobody can close.
    pub(crate) fn keep(&mut self, user: u32, descriptor: OwnedFd) {
        self.kept.push((user, descriptor));
    }

    /// Each user, and how many descriptors are held for it here.
    pub(crate) fn held(&self) -> impl Iterator<Item = (u32, usize)> {
        let kept = self.kept.iter().map(|(user, _)| (*user, 1));
        self.all
            .iter()
            .map(|(user, closer)| (*user, closer.held()))
            .chain(kept)
    }

    /// Another process has closed that socket, as the last.
    pub(crate) fn forget(&self, cookie: u64) {
        for closer in self.all.values().filter(|closer| closer.has_waiting()) {
            closer.holder_search.forget(cookie);
        }
    }

    /// Whether something waits for more than the closers.
    pub(crate) fn have_waiting(&self) -> bool {
        self.all.values().any(UserCloser::has_waiting)
    }

    pub(crate) fn is_idle(&self) -> bool {
        let mut user_closers = self.all.values();
        user_closers.all(|closer| closer.held() == 0 && !closer.holder_search.has_questions())
    }

    pub(crate) fn closers(&self) -> Vec<Arc<Closer>> {
        self.all.values().map(UserCloser::closer).collect()
    }
}

impl Drop for UserClosers {
    fn drop(&mut self) {
        // Closed with the process, whose end waits for no linger time.
        std::mem::forget(std::mem::take(&mut self.kept));
    }
}
