//! Which of several processes that held a connection let go of it last: its close is the
//! connection's end, and a time to wait counts from there. No I/O.

use std::collections::HashMap;

use lastbyte_run_protocol::Request;

/// Connections that are remembered.
const MOST: usize = 1 << 12;

/// A process's letting go, by its own word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LetGo {
    pub(crate) request: Request,
    pub(crate) process: libc::pid_t,
    pub(crate) user: u32,
}

/// The last one of each connection, by its cookie.
#[derive(Default)]
pub(crate) struct LastLetGo(HashMap<u64, LetGo>);

impl LastLetGo {
    /// A process lets go of a connection that others may hold.
    pub(crate) fn note(&mut self, cookie: u64, let_go: LetGo) {
        let is_later = |known: &LetGo| let_go.request.began > known.request.began;
        if self.0.get(&cookie).is_none_or(is_later) {
            if self.0.len() >= MOST {
                self.0.clear();
            }
            self.0.insert(cookie, let_go);
        }
    }

    /// The connection is ended, or somebody else's.
    pub(crate) fn forget(&mut self, cookie: u64) {
        self.0.remove(&cookie);
    }

    /// The connection that `own` sent is held by nobody. It was seen held at `held_at`
    /// (CLOCK_MONOTONIC, nanoseconds), zero if it was not. Who let go of it last: where
    /// nobody is known to have done so since then, the moment is not known either.
    pub(crate) fn last(&mut self, cookie: u64, own: LetGo, held_at: u64) -> LetGo {
        let other = self.0.remove(&cookie).filter(|one| one.user == own.user);
        let last = match other {
            Some(other) if other.request.began > own.request.began => other,
            _ => own,
        };
        if last.request.began >= held_at {
            return last;
        }
        let request = Request {
            began: 0,
            ..last.request
        };
        LetGo { request, ..last }
    }
}

#[cfg(test)]
mod tests {
    use lastbyte_run_protocol::Kind;

    use super::*;

    fn at(process: libc::pid_t, began: u64) -> LetGo {
        let mut request = Request::new(Kind::EndAfterExit, 3);
        request.began = began;
        LetGo {
            request,
            process,
            user: 1000,
        }
    }

    fn last(known: &[LetGo], own: LetGo, held_at: u64) -> (libc::pid_t, u64) {
        let mut all = LastLetGo::default();
        for one in known {
            all.note(7, *one);
        }
        let last = all.last(7, own, held_at);
        (last.process, last.request.began)
    }

    #[test]
    fn the_latest_word_counts() {
        assert_eq!(last(&[], at(1, 10), 0), (1, 10));
        assert_eq!(last(&[at(1, 10), at(2, 20)], at(1, 10), 0), (2, 20));
        assert_eq!(last(&[at(2, 20), at(1, 10)], at(1, 10), 0), (2, 20));
        assert_eq!(last(&[at(1, 10)], at(2, 20), 0), (2, 20));
    }

    #[test]
    fn a_word_from_before_it_was_seen_held_says_no_time() {
        assert_eq!(last(&[at(1, 10)], at(1, 10), 15), (1, 0));
        assert_eq!(last(&[at(1, 10), at(2, 20)], at(1, 10), 15), (2, 20));
        // Its shim saw another holder, and said no time.
        assert_eq!(last(&[at(1, 0), at(2, 20)], at(1, 0), 0), (2, 20));
        assert_eq!(last(&[at(1, 0)], at(1, 0), 0), (1, 0));
    }

    #[test]
    fn another_users_word_does_not_count() {
        let other = LetGo {
            user: 0,
            ..at(2, 20)
        };
        assert_eq!(last(&[other], at(1, 10), 0), (1, 10));
    }

    #[test]
    fn what_is_forgotten_or_too_much_has_no_part_in_it() {
        let mut all = LastLetGo::default();
        all.note(7, at(2, 20));
        all.forget(7);
        assert_eq!(all.last(7, at(1, 10), 0).process, 1);
        for cookie in 0..=MOST as u64 {
            all.note(cookie, at(2, 20));
        }
        assert_eq!(all.0.len(), 1);
    }
}
