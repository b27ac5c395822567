//! The loop: what arrives is ended, answered and written down.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lastbyte::{Closer, Linger, LingerForm, Policy, RawLinger};
use lastbyte_handoff::{Kind, Override, Request, Settings, flag};

use crate::book::{Book, Page};
use crate::channel::{self, Arrival, Delivery, Mapping, Pair, check};
use crate::heirs::Heirs;
use crate::program::{self, Inheritance, Obstacle};
use crate::record::{Found, Known, Left, Log, Origin};
use crate::signals::Signals;
use crate::system::{leave_inherited_sockets_alone, open_process, raise_file_limit};
use crate::{Error, Options, Outcome, family};

/// Descriptors kept free for what is in the channel when we call ourselves full,
/// and for looking into /proc.
const RESERVE: u64 = 1024;
/// How long not to look where no event tells.
const LOOK: Duration = Duration::from_millis(50);
/// Programs said to be uncovered, at most.
const TOLD: usize = 1000;

struct Desk {
    channel: channel::Channel,
    mapping: Mapping,
    signals: Signals,
    closer: Arc<Closer>,
    book: Arc<Book>,
    linger: Override,
    room: usize,
    heirs: Heirs,
    told: HashSet<(String, u32)>,
    is_full: bool,
    is_full_said: bool,
    child: libc::pid_t,
    status: Option<u8>,
    channel_is_open: bool,
    channel_is_read: bool,
    is_known_uncovered: bool,
}

pub(crate) fn run(options: Options) -> Result<Outcome, Error> {
    let path = program::locate(&options.program)?;
    let obstacle = program::obstacle(&path);
    if let Some(obstacle) = obstacle {
        if !options.anyway {
            return Err(Error::Uncovered(path, obstacle));
        }
        eprintln!(
            "lastbyte: {} {obstacle}; its closes are the kernel's own",
            path.display()
        );
    }
    let system = |what| move |error| Error::System(what, error);
    let files = raise_file_limit().map_err(system("cannot read the limit of open files"))?;
    let observed = options.log.is_some() || options.summary;
    let settings = Settings {
        linger: options.linger,
        observed,
    };
    let pair = Pair::new(settings, files.0.rlim_cur)
        .map_err(system("cannot make the channel to the program"))?;
    leave_inherited_sockets_alone(pair.shared);
    // Before any thread is started, so that all of them have our signals blocked.
    let signals = Signals::take_over().map_err(system("cannot take over signals"))?;
    // SAFETY: no memory involved.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) })
        .map_err(system("cannot become the parent of orphaned descendants"))?;
    let log = options
        .log
        .map(Log::new)
        .transpose()
        .map_err(system("cannot start the log"))?;
    let closer = Closer::builder()
        .thread_name("lastbyte-closer")
        .build()
        .map_err(system("cannot start the closer"))?;
    // SAFETY: no memory involved.
    let bell = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
        .map_err(system("cannot make an event descriptor"))?;
    let book = Arc::new(Book {
        mapping: pair.shared,
        observed,
        // SAFETY: just made.
        bell: unsafe { OwnedFd::from_raw_fd(bell) },
        page: Mutex::new(Page {
            log,
            ..Page::default()
        }),
    });
    let address = pair
        .theirs
        .address()
        .map_err(system("cannot identify the channel"))?;
    let child = program::start(
        &options.program,
        &path,
        &options.arguments,
        &Inheritance {
            shim: &options.shim,
            address,
            ends: pair.theirs.descriptors(),
            files: files.0,
            mask: signals.before,
        },
    )?;
    let Pair {
        ours,
        theirs,
        shared,
    } = pair;
    // With our copies gone, the channel ends when its last holder does.
    drop(theirs);
    let desk = Desk {
        channel: ours,
        mapping: shared,
        signals,
        closer: Arc::new(closer),
        book,
        linger: options.linger,
        room: usize::try_from(files.1 - RESERVE.min(files.1 / 4)).unwrap_or(usize::MAX),
        heirs: Heirs::default(),
        told: HashSet::new(),
        is_full: false,
        is_full_said: false,
        child: libc::pid_t::try_from(child.id()).unwrap_or(0),
        status: None,
        channel_is_open: true,
        channel_is_read: true,
        is_known_uncovered: obstacle.is_some(),
    };
    desk.sit(options.follow, options.patience)
}

impl Desk {
    fn sit(mut self, follow: bool, patience: Duration) -> Result<Outcome, Error> {
        while self.status.is_none() || follow && self.channel_is_open {
            self.turn(None);
        }
        let give_up = Instant::now() + patience;
        let mut is_told_to_go = false;
        let mut bell_is_set = false;
        loop {
            // What was sent before the program exited is in the channel by now.
            let mut rest = 0..4096;
            while rest.next().is_some() && self.take_one() {}
            if self.closer.in_flight() == 0 && self.heirs.is_empty() {
                break;
            }
            if give_up <= Instant::now() {
                // Descendants may go on for ever; nothing new from now on.
                self.channel_is_read = false;
                if self.only_endless_left() {
                    break;
                }
            }
            if is_told_to_go {
                break;
            }
            bell_is_set = bell_is_set || self.ring_when_idle();
            is_told_to_go = self.turn(Some(give_up));
            bell_is_set = bell_is_set && !self.book.bell_rang();
        }
        self.leave()
    }

    /// Waits for something and does it. True if a signal asks us to stop waiting.
    fn turn(&mut self, until: Option<Instant>) -> bool {
        let mut wanted: Vec<RawFd> = vec![self.signals.as_raw_fd(), self.book.bell.as_raw_fd()];
        if self.channel_is_open && self.channel_is_read {
            wanted.push(self.channel.as_raw_fd());
        }
        let fixed = wanted.len();
        wanted.extend(self.heirs.processes());
        let mut polled: Vec<libc::pollfd> = wanted
            .into_iter()
            .map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        // Nothing tells when there is room again, nor, past `until`, which fates are known.
        let soon = Instant::now() + LOOK;
        let time = until
            .map(|until| until.max(soon))
            .into_iter()
            .chain(self.is_full.then_some(soon))
            .chain(self.heirs.next_look())
            .min()
            .map_or(-1, |until| {
                let left = until.saturating_duration_since(Instant::now());
                i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX)
            });
        let count = polled.len() as libc::nfds_t;
        // SAFETY: as many entries as said.
        unsafe { libc::poll(polled.as_mut_ptr(), count, time) };
        let is_ready = |index: usize| polled.get(index).is_some_and(|one| one.revents != 0);
        let gone: Vec<bool> = (fixed..polled.len()).map(is_ready).collect();
        let channel_is_ready = fixed > 2 && is_ready(2);
        let signals_are_ready = is_ready(0);
        if channel_is_ready {
            // Not all at once: signals must not starve.
            for _ in 0..256 {
                if !self.take_one() {
                    break;
                }
            }
        }
        // After the channel: who has closed one of these as the last has said so there.
        for delivery in self.heirs.due(&gone) {
            self.end(delivery);
        }
        self.look_for_room();
        signals_are_ready && self.attend_signals()
    }

    /// Tells the shims whether we can take more.
    fn look_for_room(&mut self) {
        let is_full = self.closer.in_flight() + self.heirs.len() >= self.room;
        if is_full == self.is_full {
            return;
        }
        self.is_full = is_full;
        self.mapping.control().set_full(is_full);
        if is_full && !self.is_full_said {
            self.is_full_said = true;
            eprintln!(
                "lastbyte: {} connections are being ended, and there are descriptors for no more; \
                 until some are done, closes are the kernel's own (raise ulimit -Hn)",
                self.room
            );
        }
    }

    fn attend_signals(&mut self) -> bool {
        let mut stop = false;
        while let Some(signal) = self.signals.next() {
            match signal.number {
                libc::SIGCHLD => self.reap(),
                number if self.status.is_none() && signal.is_for_us => {
                    // SAFETY: our own child, not reaped yet.
                    unsafe { libc::kill(self.child, number) };
                }
                _ if self.status.is_none() => {}
                libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT => stop = true,
                _ => {}
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
                let code = if libc::WIFSIGNALED(status) {
                    128 + libc::WTERMSIG(status)
                } else {
                    libc::WEXITSTATUS(status)
                };
                self.status = Some(u8::try_from(code).unwrap_or(u8::MAX));
            }
        }
    }

    /// Takes one message. False if there was none.
    fn take_one(&mut self) -> bool {
        if !self.channel_is_open || !self.channel_is_read {
            return false;
        }
        match self.channel.take() {
            Ok(Arrival::Delivery(delivery)) => self.serve(delivery),
            Ok(Arrival::Malformed(malformed, sender)) => {
                eprintln!("lastbyte: process {sender} sent what is no request: {malformed:?}");
            }
            Ok(Arrival::Nothing) => return false,
            Ok(Arrival::End) => {
                self.channel_is_open = false;
                return false;
            }
            Err(error) => {
                eprintln!("lastbyte: cannot read the channel to the program: {error}");
                self.channel_is_open = false;
                return false;
            }
        }
        true
    }

    fn serve(&mut self, delivery: Delivery) {
        let Delivery {
            request, sender, ..
        } = delivery;
        match request.kind {
            Kind::Shared => {
                let shared = family::holds(request.inode, (sender, request.fd));
                self.mapping.answer(&request, i32::from(shared));
            }
            Kind::Uncovered => self.tell_uncovered(&request, sender),
            Kind::End => self.end(delivery),
            Kind::EndUnlessHeld => self.heirs.add_unless_held(delivery),
            Kind::EndAfterExit => match open_process(sender) {
                Ok(process) => self.heirs.add(process, delivery),
                // It is gone already.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                    self.heirs.add_unless_held(delivery);
                }
                // We cannot tell when it is: its exit closes the connection.
                Err(_) => drop(delivery),
            },
        }
        self.look_for_room();
    }

    fn tell_uncovered(&mut self, request: &Request, sender: libc::pid_t) {
        let obstacle = Obstacle::new(request.flags);
        // A program's own text on somebody's terminal.
        let name = String::from_utf8_lossy(request.name())
            .escape_debug()
            .to_string();
        if self.told.len() < TOLD && self.told.insert((name.clone(), request.flags)) {
            eprintln!(
                "lastbyte: {name} (process {sender}) {obstacle}; its closes are the kernel's own"
            );
        }
    }

    fn end(&mut self, delivery: Delivery) {
        let Delivery {
            request,
            sender,
            socket,
        } = delivery;
        let Some(socket) = socket else {
            // No descriptor was free to receive it: the program's close was plain.
            self.mapping.answer(&request, 0);
            return;
        };
        let socket = TcpStream::from(socket);
        let cookie = channel::cookie(socket.as_raw_fd()).unwrap_or(0);
        self.heirs.forget(cookie);
        if cookie != 0 && self.book.page().ending.contains(&cookie) {
            // Another descriptor's close ends it already.
            self.mapping.answer(&request, 0);
            return;
        }
        let origin = Origin {
            pid: sender,
            comm: String::from_utf8_lossy(request.name()).into_owned(),
            local: self.address(&request, 0, socket.local_addr().ok()),
            remote: self.address(&request, 1, socket.peer_addr().ok()),
            linger: Found {
                l_onoff: request.linger.l_onoff,
                l_linger: request.linger.l_linger,
            },
        };
        if request.flags & flag::AS_THE_KERNEL_DOES != 0 {
            let unread = channel::unread(&socket).ok();
            drop(socket);
            self.mapping.answer(&request, 0);
            self.book.write(
                &mut self.book.page(),
                origin,
                Known::Left(Left::never_sent(unread)),
            );
            return;
        }
        let number = self.book.begin(origin, cookie);
        let book = Arc::clone(&self.book);
        let policy = self.policy(&request);
        let submitted = self.closer.close(socket, policy, move |result| {
            book.settle(number, cookie, &request, result);
        });
        if let Err(error) = submitted {
            self.book.settle(number, cookie, &request, Err(error));
        }
    }

    /// Where the kernel no longer knows it, what the program knew.
    fn address(
        &self,
        request: &Request,
        side: usize,
        known: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        if !self.book.observed {
            return None;
        }
        known.or_else(|| channel::address(request.addresses.get(side)?))
    }

    fn policy(&self, request: &Request) -> Policy {
        let policy = Policy::new(match self.linger {
            Override::Off => Linger::Off,
            Override::Abort => Linger::Abort,
            Override::Wait(ms) => Linger::Wait(Duration::from_millis(ms)),
            Override::None => LingerForm::NATIVE.linger(RawLinger {
                l_onoff: request.linger.l_onoff,
                l_linger: request.linger.l_linger,
            }),
        });
        if request.flags & flag::FIN_IS_OUT != 0 {
            policy.half_closed()
        } else {
            policy
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
            .any(|(origin, _)| has_deadline(&origin.linger))
    }

    /// Has the bell rung when the closer has nothing in flight.
    fn ring_when_idle(&self) -> bool {
        let (closer, book) = (Arc::clone(&self.closer), Arc::clone(&self.book));
        let watcher = std::thread::Builder::new()
            .name("lastbyte-idle".to_owned())
            .spawn(move || {
                while !closer.wait_idle(Duration::from_secs(3600)) {}
                book.ring();
            });
        watcher.is_ok()
    }

    fn leave(self) -> Result<Outcome, Error> {
        let mut page = self.book.page();
        let left: Vec<(Origin, Instant)> = page.open.drain().map(|(_, open)| open).collect();
        if !left.is_empty() {
            eprintln!(
                "lastbyte: {} connection{} without an end yet left to the kernel",
                left.len(),
                if left.len() == 1 { "" } else { "s" }
            );
        }
        for (origin, began) in left {
            let fate = Known::Left(Left::unwatched(began.elapsed()));
            self.book.write(&mut page, origin, fate);
        }
        let sums = page.sums.clone();
        drop(page);
        if !self.is_known_uncovered && !self.mapping.get().has_arrival() {
            eprintln!(
                "lastbyte: the shim did not come up in the program, so its closes were the \
                 kernel's own; the loader's messages above may say why"
            );
        }
        if self.channel_is_open {
            let descendants = family::count();
            if descendants > 0 {
                eprintln!(
                    "lastbyte: the program left {descendants} process{} behind; from now on \
                     their closes are the kernel's own (--follow stays for them)",
                    if descendants == 1 { "" } else { "es" }
                );
            }
        }
        let status = self.status.unwrap_or(u8::MAX);
        // Endings that were left go on in the closer's thread and find no log.
        let log = self.book.page().log.take();
        let log_error = log.and_then(|log| log.finish().err());
        Ok(Outcome {
            status,
            sums,
            log_error,
        })
    }
}
