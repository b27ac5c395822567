//! What a destroy notice does: it ends a connection, or makes its ending wait.

use super::waiting::Waiting;
use super::{Tracker, WAITING};
use crate::evidence::history::{History, Nanos};
use crate::judge::After;
use crate::parse::inet_diag::Socket;
use crate::reason::Reason;

impl Tracker {
    /// Takes the kernel's notice, which came at this moment, that a socket is destroyed.
    pub(crate) fn destroy_notice(&mut self, at: Nanos, socket: &Socket) {
        self.spaces.insert(socket.space);
        let history = self.forget_dead(socket.cookie);
        let sample = self.samples.remove(&socket.cookie);
        if !was_connection(socket, history.as_deref()) {
            self.was_no_connection(socket);
            return;
        }
        let waiting = Waiting::new(at, socket, history, sample);
        let verdict = self.judge(&waiting);
        let asks = verdict.ask && socket.tuple.is_whole();
        if !asks {
            self.finish(&waiting, &verdict);
        } else if self.waiting.len() >= WAITING {
            self.counts.unasked += 1;
            self.finish(&waiting, &verdict);
        } else if let Some(reason) = self.late_reset(&waiting) {
            self.end(&Waiting {
                last: After::Reset(reason),
                ..waiting
            });
        } else {
            self.wait(waiting);
        }
    }

    fn was_no_connection(&mut self, socket: &Socket) {
        let unused = socket.wqueue == 0 && !socket.tuple.remote.has_ip();
        if unused && socket.tuple.local.port != 0 {
            self.set_listening(socket.space, socket.tuple.local.port);
        }
        self.counts.not_connections += 1;
    }

    /// The reason of an RST that answered a segment after the socket was gone, where one
    /// has been reported already.
    fn late_reset(&self, waiting: &Waiting) -> Option<Reason> {
        let (when, (reason, _)) = self.resets.find(&waiting.socket.tuple)?;
        reason.filter(|reason| when >= waiting.at && *reason == Reason::TIMEWAIT_SOCKET)
    }
}

/// Whether a destroyed socket was a connection, and no listener, failed connect or socket
/// that was never used.
fn was_connection(socket: &Socket, history: Option<&History>) -> bool {
    history.is_some_and(|history| history.opened.is_some())
        || match socket.info.and_then(|info| info.counts) {
            Some(counts) => counts.was_established(),
            None => socket.tuple.remote.port != 0,
        }
}
