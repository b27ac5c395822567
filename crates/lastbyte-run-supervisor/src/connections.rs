//! The run's connections that the kernel closes: announced by the shims, ended by the
//! kernel's notices. No I/O.
//!
//! A program can announce what it likes. A connection is written down with its addresses
//! and numbers only if the kernel has confirmed that the socket is the announcer's; else
//! it is counted, and nothing is known of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use lastbyte::Fate;
use lastbyte_run_protocol::{Left as Reason, Request, flag};
use lastbyte_tcp::State;

use crate::channel::{self, Sender};
use crate::last_word::{self, Before, Close, LastWord, Notice};
use crate::record::{Found, Known, Left, Origin, Sum};

/// Connections of one user that are followed at the same time.
const MOST: usize = 1 << 16;
/// Ended MPTCP connections that are remembered.
const MPTCP: usize = 1 << 12;

/// A line of the log.
pub(crate) type Ended = (Origin, Known);

#[derive(Debug)]
struct Connection {
    sender: Sender,
    comm: String,
    /// `None` where the kernel did not confirm it.
    addresses: Option<[SocketAddr; 2]>,
    before: Before,
    /// No shim is in its process.
    is_uncovered: bool,
    closing: Option<Closing>,
}

#[derive(Debug)]
struct Closing {
    process: libc::pid_t,
    comm: String,
    linger: Found,
    /// CLOCK_MONOTONIC, nanoseconds.
    began: u64,
    left: Option<Reason>,
}

/// Closes that were left to the kernel for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) closes: u64,
    pub(crate) lost: Sum,
}

#[derive(Default)]
pub(crate) struct Connections {
    open: HashMap<u64, Connection>,
    by_user: HashMap<u32, usize>,
    mptcp: HashSet<u64>,
    left: BTreeMap<usize, Tally>,
    /// Connections that found no place.
    unfollowed: u64,
    /// No notices come: nothing is waited for.
    is_deaf: bool,
}

/// What a connection is known by. Accepted MPTCP sockets have their listener's cookie
/// (Linux 6.18), so their inode is taken, with a bit that no cookie has.
fn key(request: &Request) -> u64 {
    if request.flags & flag::MPTCP == 0 {
        request.cookie
    } else {
        request.inode | 1 << 63
    }
}

fn is_trimmed(request: &Request) -> bool {
    request.flags & flag::INPUT_IS_TRIMMED != 0
}

impl Connections {
    /// No notice will ever come.
    pub(crate) fn set_deaf(&mut self) {
        self.is_deaf = true;
    }

    /// By the reason's index.
    pub(crate) fn left(&self) -> &BTreeMap<usize, Tally> {
        &self.left
    }

    pub(crate) fn unfollowed(&self) -> u64 {
        self.unfollowed
    }

    /// Whether the kernel's word on this socket would be news.
    pub(crate) fn knows(&self, cookie: u64) -> bool {
        self.open.contains_key(&cookie)
    }

    /// A process has a connection. `addresses` are the kernel's word.
    pub(crate) fn opened(
        &mut self,
        request: &Request,
        sender: Sender,
        addresses: Option<[SocketAddr; 2]>,
    ) {
        let is_connected = request.flags & flag::CONNECTED != 0;
        let is_inherited = request.flags & flag::INHERITED != 0;
        match self.open.get_mut(&key(request)) {
            Some(known) if known.addresses.is_some() || addresses.is_none() => {
                // Another program has it too: who had it first is as good a name. A close
                // that was announced before did not come about: exec kept it, or failed.
                if addresses.is_some() {
                    known.closing = None;
                    known.before.close = None;
                }
                return;
            }
            // Who announced it before had no part in it.
            Some(_) => drop(self.remove(key(request))),
            None => {}
        }
        let before = Before {
            connected: (!is_inherited).then_some(is_connected),
            ..Before::default()
        };
        let connection = Connection {
            sender,
            comm: name(request),
            addresses,
            before,
            is_uncovered: false,
            closing: None,
        };
        self.insert(key(request), connection);
    }

    /// A process that no shim is in has it.
    pub(crate) fn found(
        &mut self,
        cookie: u64,
        sender: Sender,
        comm: String,
        addresses: [SocketAddr; 2],
    ) {
        if let Some(known) = self.open.get_mut(&cookie) {
            known.is_uncovered = true;
            return;
        }
        let connection = Connection {
            sender,
            comm,
            addresses: Some(addresses),
            before: Before::default(),
            is_uncovered: true,
            closing: None,
        };
        self.insert(cookie, connection);
    }

    /// The program shut down its sending side.
    pub(crate) fn half_closed(&mut self, request: &Request, sender: Sender) {
        if let Some(connection) = self.open.get_mut(&key(request))
            && connection.sender.user == sender.user
        {
            connection.before.half_closed = true;
            connection.before.input_is_trimmed |= is_trimmed(request);
        }
    }

    /// The kernel closes it next. `is_holder` says whether the sender is known to hold
    /// that socket. What is over at once is returned.
    pub(crate) fn closes(
        &mut self,
        request: &Request,
        sender: Sender,
        is_holder: impl FnOnce() -> bool,
    ) -> Option<Ended> {
        if request.flags & flag::MPTCP != 0 {
            return self.mptcp_closes(request, sender);
        }
        let state = State::from_raw(request.state.into());
        let closing = Closing {
            process: sender.process,
            comm: name(request),
            linger: found(request),
            began: request.began,
            left: request.left,
        };
        match self.open.get_mut(&key(request)) {
            Some(connection) => {
                if connection.sender.user != sender.user && !is_holder() {
                    // Another's connection is not this one's to name.
                    return None;
                }
                connection.before.input_is_trimmed |= is_trimmed(request);
                connection.before.close = Some(Close {
                    state,
                    unread: request.unread.map(u64::from),
                    may_be_held: request.flags & flag::MAY_BE_HELD != 0,
                });
                connection.closing = Some(closing);
                if self.is_deaf {
                    let connection = self.remove(key(request))?;
                    return Some(self.end(connection, None, Reason::Unseen));
                }
                None
            }
            // A listener, or a socket that never was a connection or that nobody announced.
            None if request.left.is_none()
                && matches!(
                    state,
                    None | Some(State::Closed | State::SynSent | State::Listen)
                ) =>
            {
                None
            }
            None => {
                let connection = Connection {
                    sender,
                    comm: closing.comm.clone(),
                    addresses: None,
                    before: Before::default(),
                    is_uncovered: false,
                    closing: Some(closing),
                };
                Some(self.end(connection, None, Reason::Unseen))
            }
        }
    }

    /// No notice tells of an MPTCP connection, so it is over with its first close.
    fn mptcp_closes(&mut self, request: &Request, sender: Sender) -> Option<Ended> {
        self.remove(key(request));
        if self.mptcp.len() >= MPTCP {
            self.mptcp.clear();
        }
        if !self.mptcp.insert(key(request)) {
            return None;
        }
        let connection = Connection {
            sender,
            comm: name(request),
            addresses: None,
            before: Before::default(),
            is_uncovered: false,
            closing: Some(Closing {
                process: sender.process,
                comm: name(request),
                linger: found(request),
                began: request.began,
                left: request.left,
            }),
        };
        Some(self.end(connection, None, Reason::Mptcp))
    }

    /// The supervisor itself closes it plainly: there was no room.
    pub(crate) fn refused(&mut self, cookie: u64, origin: Origin, sender: Sender, began: u64) {
        let addresses = origin.local.zip(origin.remote);
        let closing = Closing {
            process: origin.pid,
            comm: origin.comm.clone(),
            linger: origin.linger.unwrap_or_default(),
            began,
            left: Some(Reason::Full),
        };
        let before = match self.remove(cookie) {
            Some(known) => known.before,
            None => Before::default(),
        };
        let connection = Connection {
            sender,
            comm: origin.comm,
            addresses: addresses.map(|(local, remote)| [local, remote]),
            before,
            is_uncovered: false,
            closing: Some(closing),
        };
        self.insert(cookie, connection);
    }

    /// The supervisor's closer has it from now on.
    pub(crate) fn handed_over(&mut self, cookie: u64) {
        self.remove(cookie);
    }

    /// The kernel's notice. `unannounced` says why a close that no shim announced came
    /// about; `now` is CLOCK_MONOTONIC in nanoseconds.
    pub(crate) fn destroyed(
        &mut self,
        notice: &Notice,
        now: u64,
        unannounced: impl FnOnce(libc::pid_t) -> Reason,
    ) -> Option<Ended> {
        let connection = self.remove(notice.cookie)?;
        let is_left = connection
            .closing
            .as_ref()
            .is_some_and(|one| one.left.is_some());
        if !is_left && !last_word::was_connection(notice) {
            return None;
        }
        let reason = unannounced(connection.sender.process);
        Some(self.end(connection, Some((notice, now)), reason))
    }

    /// Whether a notice is still to be expected soon.
    pub(crate) fn is_settling(&self, is_alive: impl Fn(libc::pid_t) -> bool) -> bool {
        !self.is_deaf
            && self.open.values().any(|connection| {
                connection.addresses.is_some()
                    && (connection.closing.is_some() || !is_alive(connection.sender.process))
            })
    }

    /// Ends what no notice came for, and returns how many connections are still open.
    pub(crate) fn finish(
        &mut self,
        is_alive: impl Fn(libc::pid_t) -> bool,
        mut each: impl FnMut(Ended),
    ) -> u64 {
        let mut still_open = 0;
        for (_, connection) in std::mem::take(&mut self.open) {
            if connection.closing.is_none() && is_alive(connection.sender.process) {
                still_open += 1;
                continue;
            }
            each(self.end(connection, None, Reason::Ended));
        }
        still_open
    }

    fn insert(&mut self, cookie: u64, connection: Connection) {
        let user = connection.sender.user;
        let count = self.by_user.entry(user).or_default();
        if *count >= MOST {
            self.unfollowed += 1;
            return;
        }
        *count += 1;
        self.open.insert(cookie, connection);
    }

    fn remove(&mut self, cookie: u64) -> Option<Connection> {
        let connection = self.open.remove(&cookie)?;
        if let Some(count) = self.by_user.get_mut(&connection.sender.user) {
            *count = count.saturating_sub(1);
        }
        Some(connection)
    }

    /// Writes it off. `reason` is that of a close which no shim announced.
    fn end(
        &mut self,
        connection: Connection,
        notice: Option<(&Notice, u64)>,
        reason: Reason,
    ) -> Ended {
        let word = match notice {
            Some((notice, _)) if connection.addresses.is_some() => {
                last_word::read(notice, &connection.before)
            }
            _ => LastWord::default(),
        };
        let left = match &connection.closing {
            None if connection.is_uncovered => Some(Reason::Uncovered),
            None => Some(reason),
            Some(Closing {
                left: Some(left), ..
            }) => Some(*left),
            // Nothing was under way when it was announced, and yet something was lost:
            // another holder went on with it.
            Some(_) if word.lost.is_some_and(|lost| lost > 0) => Some(reason),
            Some(_) => None,
        };
        if let Some(left) = left {
            let tally = self.left.entry(left.index()).or_default();
            tally.closes += 1;
            tally.lost.add(word.lost);
        }
        let elapsed = connection
            .closing
            .as_ref()
            .zip(notice)
            .map(|(closing, (_, now))| Duration::from_nanos(now.saturating_sub(closing.began)));
        let fate = Left {
            fate: if word.is_delivered {
                Fate::Delivered
            } else {
                Fate::Detached
            },
            acked: word.acked,
            lost: word.lost,
            unsent: word.unsent,
            unread: word.unread,
            rst_sent: word.rst_sent,
            closed_first: closed_first(&connection.before),
            elapsed,
            left: left.map(Reason::reason),
        };
        (origin(connection), Known::Left(fate))
    }
}

fn origin(connection: Connection) -> Origin {
    let (pid, comm, linger) = match connection.closing {
        Some(closing) => (closing.process, closing.comm, Some(closing.linger)),
        None => (connection.sender.process, connection.comm, None),
    };
    Origin {
        pid,
        comm,
        local: connection.addresses.map(|[local, _]| local),
        remote: connection.addresses.map(|[_, remote]| remote),
        linger,
    }
}

/// Whose FIN came first, by the state just before the close.
fn closed_first(before: &Before) -> Option<&'static str> {
    let close = before.close.filter(|close| !close.may_be_held)?;
    match close.state? {
        State::Established | State::FinWait1 | State::FinWait2 => Some("local"),
        State::CloseWait | State::LastAck => Some("peer"),
        _ => None,
    }
}

fn name(request: &Request) -> String {
    String::from_utf8_lossy(request.name()).into_owned()
}

fn found(request: &Request) -> Found {
    Found {
        l_onoff: request.linger.l_onoff,
        l_linger: request.linger.l_linger,
    }
}

/// Both addresses as the program gave them; `None` where it gave none.
pub(crate) fn addresses(request: &Request) -> Option<[SocketAddr; 2]> {
    let [local, remote] = request.addresses.each_ref();
    Some([channel::address(local)?, channel::address(remote)?])
}

#[cfg(test)]
mod tests;
