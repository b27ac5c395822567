//! Endings that wait until it is known what came after: the peer's FIN, or an RST.

use std::cmp::Reverse;

use super::{SECOND, Tracker};
use crate::evidence::history::{History, Nanos};
use crate::evidence::last_sample::LastSample;
use crate::judge::After;
use crate::parse::inet_diag::Socket;
use crate::tuple::{Place, State, Tuple};

/// First wait before asking again whether the peer's FIN has come.
const ASK_AGAIN: Nanos = SECOND / 20;
/// The longest wait between two such questions: well below the 60 s that a TIME_WAIT
/// socket stays to be seen.
const ASK_AGAIN_AT_MOST: Nanos = 5 * SECOND;
/// Longer than any FIN_WAIT2 lasts without a descriptor: 60 s, and room.
const FIN_WAIT2_AT_MOST: Nanos = 90 * SECOND;
/// Questions this close together cannot miss a TIME_WAIT between them.
const TIME_WAIT_LASTS: Nanos = 50 * SECOND;
/// How far the kernel's word on when a socket expires can be off: it counts in ticks.
const TICKS: Nanos = SECOND / 50;

/// An ending whose last word is not spoken: the peer's FIN may come, or
/// something else that is answered with an RST.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) socket: Socket,
    pub(super) history: Option<Box<History>>,
    pub(super) sample: Option<Box<LastSample>>,
    pub(super) at: Nanos,
    /// When the destroy notice came.
    pub(super) told: Nanos,
    pub(super) step: Nanos,
    pub(super) last: After,
    /// When it was in FIN_WAIT2 for certain, and when the kernel will let it go.
    pub(super) held: Option<(Nanos, Nanos)>,
    /// When it was found to be there no more.
    pub(super) gone: Option<Nanos>,
}

impl Waiting {
    /// Of a socket whose destroy notice came at this moment.
    pub(super) fn new(
        told: Nanos,
        socket: &Socket,
        history: Option<Box<History>>,
        sample: Option<Box<LastSample>>,
    ) -> Self {
        let ended = history.as_ref().and_then(|history| history.end);
        Self {
            socket: *socket,
            history,
            sample,
            at: ended.map_or(told, |end| end.at),
            told,
            step: ASK_AGAIN,
            last: After::NotAsked,
            held: None,
            gone: None,
        }
    }

    /// When it was established; 0 where that is not known. Another connection may have had
    /// the same ends a moment earlier.
    pub(super) fn opened(&self) -> Nanos {
        let history = self.history.as_ref();
        history.and_then(|history| history.opened).unwrap_or(0)
    }

    /// The ends, completed from what was known before the kernel cleared them.
    pub(super) fn whole_tuple(&self) -> Tuple {
        let tuple = self.socket.tuple;
        if tuple.is_whole() {
            return tuple;
        }
        let history = self.history.as_ref().map(|history| history.tuple);
        let sample = self.sample.as_ref().map(|sample| sample.tuple);
        history
            .filter(Tuple::is_whole)
            .or(sample.filter(Tuple::is_whole))
            .unwrap_or(tuple)
    }

    fn place(&self) -> Place {
        let Socket { space, tuple, .. } = self.socket;
        Place { space, tuple }
    }
}

impl Tracker {
    /// The look-ups that are due, at most `limit`: what does the kernel hold for
    /// these ends? Each is answered by [`answer`](Self::answer).
    pub(crate) fn queries(&mut self, now: Nanos, limit: usize) -> Vec<Place> {
        while let Some(Reverse((due, place))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            if self.waiting.contains_key(&place) {
                self.queries.push_back(place);
            }
        }
        let count = self.queries.len().min(limit);
        self.queries.drain(..count).collect()
    }

    /// When the next look-up is due.
    #[must_use]
    pub(crate) fn next_query(&self) -> Option<Nanos> {
        if self.queries.is_empty() {
            return self.due.peek().map(|Reverse((due, _))| *due);
        }
        Some(0)
    }

    /// Asks once more about every ending that waits: the watch is about to end.
    pub(crate) fn ask_all(&mut self) {
        self.due.clear();
        let open = self.waiting.iter().filter(|(_, w)| w.gone.is_none());
        self.queries = open.map(|(place, _)| *place).collect();
    }

    /// What the kernel holds for these ends now, if anything.
    pub(crate) fn answer(&mut self, now: Nanos, place: Place, held: Option<&Socket>) {
        let Some(waiting) = self.waiting.get_mut(&place) else {
            return;
        };
        match held.map(|socket| (socket.state, socket.expires_ms)) {
            Some((State::TimeWait, _)) => waiting.last = After::TimeWait,
            Some((State::FinWait2, expires_ms)) => {
                let until = now.saturating_add(u64::from(expires_ms) * 1_000_000);
                waiting.last = After::FinWait2;
                waiting.held = Some((now, until));
                if now.saturating_sub(waiting.at) < FIN_WAIT2_AT_MOST {
                    let due = (now + waiting.step).min(until + TICKS);
                    waiting.step = (waiting.step * 2).min(ASK_AGAIN_AT_MOST);
                    self.due.push(Reverse((due, place)));
                    return;
                }
            }
            other => {
                // Had it been in FIN_WAIT2 to the last, the peer's FIN never came.
                // Where there is a new connection instead, it may have ended its
                // TIME_WAIT.
                let to_the_last = waiting.held.is_some_and(|(looked, until)| {
                    now.saturating_sub(looked) < TIME_WAIT_LASTS && now + TICKS >= until
                });
                waiting.last = match to_the_last && other.is_none() {
                    true => After::Expired,
                    false => After::Nothing,
                };
                // The RST that ended it may be on its way to us.
                if self.tracing && waiting.gone.is_none() {
                    waiting.gone = Some(now);
                    self.settling.push_back((now, place));
                    return;
                }
            }
        }
        self.conclude(place);
    }

    /// Makes an ending wait, and asks what the kernel holds for its ends.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        // The same ends again: the earlier connection is over for certain.
        let place = waiting.place();
        if let Some(earlier) = self.waiting.get_mut(&place) {
            if earlier.gone.is_none() {
                // How, nobody saw.
                earlier.last = After::Nothing;
            }
            self.conclude(place);
        }
        self.waiting.insert(place, Box::new(waiting));
        self.queries.push_back(place);
    }

    /// The watch is over: tells what is known of the endings that still wait.
    pub(crate) fn flush(&mut self) {
        let places: Vec<_> = self.waiting.keys().copied().collect();
        for place in places {
            self.conclude(place);
        }
    }

    /// A network namespace is watched no more: tells what is known of its endings.
    pub(crate) fn leave(&mut self, space: u32) {
        let places = self.waiting.keys().filter(|place| place.space == space);
        let places: Vec<_> = places.copied().collect();
        for place in places {
            self.conclude(place);
        }
        self.listening.remove(&space);
        self.spaces.remove(&space);
    }

    /// The ending that waits with these ends, in whichever network namespace; `None`
    /// where there are several, as the kernel does not say which one it means.
    pub(super) fn waiting_somewhere(&self, tuple: Tuple) -> Option<Place> {
        let places = self.spaces.iter().map(|space| Place {
            space: *space,
            tuple,
        });
        let mut waiting = places.filter(|place| self.waiting.contains_key(place));
        let found = waiting.next()?;
        waiting.next().is_none().then_some(found)
    }

    pub(super) fn conclude(&mut self, place: Place) {
        if let Some(waiting) = self.waiting.remove(&place) {
            self.end(&waiting);
        }
    }
}
