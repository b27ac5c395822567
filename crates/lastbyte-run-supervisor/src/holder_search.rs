//! Sockets that are ended only if no process of the run goes on with them, and the
//! question whether one holds a socket: looks through /proc, which take their time.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use lastbyte_run_protocol::Request;

use crate::channel::{Delivery, close_without_lingering, inode};
use crate::descendants;
use crate::ledger::Ledger;
use crate::witness::monotonic;

/// Questions that wait for an answer, at most.
const QUESTIONS: usize = 64;
/// How long an answer may take, the wait for its turn included. What is not known by
/// then cannot be excluded.
const ANSWER: Duration = Duration::from_secs(1);
/// How long a look that nobody waits for may take.
const LEISURE: Duration = Duration::from_secs(2);

/// When it is looked for holders once the process is gone. The second look is for a
/// process that was told of the first holder just before that was gone, and closes.
pub(crate) const AFTER_EXIT: &[Duration] = &[Duration::ZERO, Duration::from_millis(100)];
/// The same where the process becomes another program, whose exec may fail.
pub(crate) const AFTER_EXEC: &[Duration] = &[
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

struct Question {
    request: Request,
    sender: libc::pid_t,
    since: Instant,
}

/// What the thread is asked for.
enum Asked {
    Question(Question),
    Look(Look),
    Forget(u64),
}

struct Look {
    at: Instant,
    later: &'static [Duration],
    delivery: Delivery,
}

/// One user's.
pub(crate) struct HolderSearch {
    asked: Sender<Asked>,
    questions: Arc<AtomicUsize>,
}

impl HolderSearch {
    /// `waiting` counts the descriptors that are here.
    pub(crate) fn start(
        user: u32,
        ledger: Arc<Ledger>,
        waiting: Arc<AtomicUsize>,
    ) -> std::io::Result<Self> {
        let (asked, inbox) = mpsc::channel();
        let questions = Arc::new(AtomicUsize::new(0));
        let looker = Searcher {
            ledger,
            waiting,
            questions: Arc::clone(&questions),
            searches: Vec::new(),
        };
        std::thread::Builder::new()
            .name(format!("lb-look-{user}"))
            .spawn(move || looker.run(&inbox))?;
        Ok(Self { asked, questions })
    }

    /// Has a question answered; false if too many wait.
    pub(crate) fn ask(&self, request: Request, sender: libc::pid_t) -> bool {
        if self.questions.load(Ordering::Acquire) >= QUESTIONS {
            return false;
        }
        self.questions.fetch_add(1, Ordering::AcqRel);
        let question = Question {
            request,
            sender,
            since: Instant::now(),
        };
        self.asked.send(Asked::Question(question)).is_ok()
    }

    /// Whether somebody waits for an answer, who then closes.
    pub(crate) fn has_questions(&self) -> bool {
        self.questions.load(Ordering::Acquire) > 0
    }

    /// Has a socket ended when no process of the run holds it, which is soon or never.
    pub(crate) fn look(&self, delivery: Delivery, times: &'static [Duration]) {
        let (first, later) = match times.split_first() {
            Some((first, later)) => (*first, later),
            None => (Duration::ZERO, times),
        };
        let look = Look {
            at: Instant::now() + first,
            later,
            delivery,
        };
        if let Err(mpsc::SendError(asked)) = self.asked.send(Asked::Look(look)) {
            // The thread panicked. Dropping this here could block everybody.
            std::mem::forget(asked);
        }
    }

    /// Another process has closed that socket, as the last.
    pub(crate) fn forget(&self, cookie: u64) {
        let _ = self.asked.send(Asked::Forget(cookie));
    }
}

struct Searcher {
    ledger: Arc<Ledger>,
    waiting: Arc<AtomicUsize>,
    questions: Arc<AtomicUsize>,
    searches: Vec<Look>,
}

impl Searcher {
    fn run(mut self, inbox: &Receiver<Asked>) {
        loop {
            let next = self.searches.iter().map(|look| look.at).min();
            let asked = match next {
                Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match asked {
                Ok(asked) => {
                    let mut questions = Vec::new();
                    self.take(asked, &mut questions);
                    // All that wait are answered by one look: a server's children that
                    // end together ask together.
                    for asked in inbox.try_iter() {
                        self.take(asked, &mut questions);
                    }
                    self.answer(&questions);
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, asked: Asked, questions: &mut Vec<Question>) {
        match asked {
            Asked::Question(question) => questions.push(question),
            Asked::Look(look) => self.searches.push(look),
            Asked::Forget(cookie) => self.forget(cookie),
        }
    }

    fn answer(&self, questions: &[Question]) {
        let Some(first) = questions.iter().map(|question| question.since).min() else {
            return;
        };
        let asked: Vec<_> = questions
            .iter()
            .map(
                |Question {
                     request, sender, ..
                 }| (request.inode, (*sender, request.fd)),
            )
            .collect();
        let held = descendants::held_beside(&asked, first + ANSWER);
        for (question, held) in questions.iter().zip(held) {
            self.ledger
                .mapping
                .answer(&question.request, i32::from(held));
        }
        self.questions.fetch_sub(questions.len(), Ordering::AcqRel);
    }

    fn forget(&mut self, cookie: u64) {
        let is_it = |look: &mut Look| look.delivery.cookie == cookie;
        let forgotten: Vec<Look> = self.searches.extract_if(.., is_it).collect();
        for look in forgotten {
            self.let_go(look.delivery);
        }
    }

    /// One look through the run for all that are due.
    fn look(&mut self) {
        let now = Instant::now();
        let due: Vec<Look> = self
            .searches
            .extract_if(.., |look| look.at <= now)
            .collect();
        let wanted = due
            .iter()
            .filter_map(|look| number(&look.delivery))
            .collect();
        let held: Option<HashSet<u64>> = descendants::held(&wanted, now + LEISURE);
        let mut seen = HashSet::new();
        for look in due {
            let is_held = match (number(&look.delivery), &held) {
                (Some(inode), Some(held)) => held.contains(&inode),
                // It cannot be excluded.
                _ => true,
            };
            if is_held {
                self.look_later(look);
            } else if seen.insert(look.delivery.cookie) {
                self.go_on(look.delivery);
            } else {
                // A process can have sent one socket by several descriptors.
                self.let_go(look.delivery);
            }
        }
    }

    /// After the last look whoever holds it closes it.
    fn look_later(&mut self, mut look: Look) {
        look.delivery.held_at = monotonic();
        match look.later.split_first() {
            Some((first, later)) => self.searches.push(Look {
                at: Instant::now() + *first,
                later,
                delivery: look.delivery,
            }),
            None => self.let_go(look.delivery),
        }
    }

    /// Another process may have closed it as the last while we looked, and its message be
    /// unread still. The loop reads that first.
    fn go_on(&self, delivery: Delivery) {
        self.ledger.unheld().push(delivery);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        self.ledger.wake();
    }

    fn let_go(&self, delivery: Delivery) {
        if let Some(socket) = delivery.socket {
            close_without_lingering(socket);
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        self.ledger.wake_if_awaited();
    }
}

/// The number that /proc/PID/fd shows for the socket.
fn number(delivery: &Delivery) -> Option<u64> {
    // What has no cookie is no socket, and fstat of a file can wait for its file system.
    let socket = delivery.socket.as_ref().filter(|_| delivery.cookie != 0)?;
    inode(socket).ok()
}
