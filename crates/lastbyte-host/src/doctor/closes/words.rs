//! The sentences of findings from ended connections; a server's cure is not a client's.

use super::{Group, Kind};
use crate::doctor::finding::{Who, count, list};
use crate::doctor::{Observations, Part};

pub(super) struct Words {
    pub(super) id: &'static str,
    pub(super) what: String,
    pub(super) why: String,
    pub(super) cure: String,
    pub(super) myth: Option<&'static str>,
}

pub(super) fn of(kind: Kind, who: &Who, group: &Group, seen: &Observations) -> Words {
    let connections = count(group.count, "connection");
    match kind {
        Kind::LostToReset | Kind::LostToLateInput | Kind::LostToSilence | Kind::LostToOther => {
            lost(kind, who, group, &connections)
        }
        Kind::UnreadInput => unread(who, group, &connections),
        Kind::CloseNotify => close_notify(who, &connections),
        Kind::ClosedWhilePeerSent { half_closed } => {
            while_peer_sent(who, group, &connections, half_closed)
        }
        Kind::WroteAfterClose => wrote_after_close(who, group, &connections),
        Kind::PeerSilent => peer_silent(who, group, &connections),
        Kind::ListenerClosed => listener_closed(who, group, &connections, seen),
        Kind::Aborted => aborted(who, group, &connections),
    }
}

fn lost(kind: Kind, who: &Who, group: &Group, connections: &str) -> Words {
    let why = match kind {
        Kind::LostToReset => {
            "The peer reset the connection after close() had returned 0; nobody was left to be \
             told."
        }
        Kind::LostToLateInput => {
            "The peer sent more after close(); Linux answers that with an RST and drops what \
             was still queued."
        }
        Kind::LostToSilence => {
            "The peer acknowledged nothing more until the kernel gave up, after close() had \
             returned 0."
        }
        _ => "The connection was torn down after close() had returned 0.",
    };
    let cure = match who.part {
        Part::Server => {
            "Do not close before the client has the answer: shutdown(SHUT_WR), read until recv \
             returns 0 (with a bound; nginx calls it lingering_close), then close; or run the \
             program under `lastbyte run`, or close with lastbyte (Policy::wait), which report \
             what was lost."
        }
        Part::Client | Part::Unknown => {
            "Do not close before the peer has it: shutdown(SHUT_WR), read until recv returns 0, \
             then close; or close with lastbyte (Policy::wait), which waits for the ACK of data \
             and FIN and reports what was lost."
        }
    };
    Words {
        id: "lost-after-close",
        what: format!(
            "{who} closed {connections} successfully and lost {} that send() had accepted{}",
            count(group.lost, "byte"),
            victims(who, group),
        ),
        why: why.to_owned(),
        cure: cure.to_owned(),
        myth: None,
    }
}

fn peer_silent(who: &Who, group: &Group, connections: &str) -> Words {
    let peer = who.part.peer();
    let lost = match group.lost {
        0 => String::new(),
        lost => format!("; {} were not acknowledged", count(lost, "byte")),
    };
    Words {
        id: "peer-silent",
        what: format!(
            "{who} lost {connections} to silence: the {peer} no longer answered, and the kernel \
             gave up{lost}"
        ),
        why: format!(
            "Retransmissions, or keepalive probes, were not answered until their time was over \
             (ETIMEDOUT), or the {peer} could not be reached (EHOSTUNREACH). The {peer}'s host \
             went away, or something between (a NAT, a firewall, a balancer) forgot the \
             connection while it was idle and drops its segments without an RST."
        ),
        cure: "If it happens to connections that were idle, send something before the shortest \
               idle timeout on the way: SO_KEEPALIVE with TCP_KEEPIDLE below it, or pings of the \
               protocol. TCP_USER_TIMEOUT sets how long unacknowledged data is waited for \
               (tcp_retries2 makes it some 15 min), so that the program learns of it in time."
            .to_owned(),
        myth: None,
    }
}

fn unread(who: &Who, group: &Group, connections: &str) -> Words {
    let own = match group.lost {
        0 => String::new(),
        lost => format!(" and lost {}", count(lost, "byte")),
    };
    let peer = who.part.peer();
    let (why, cure) = match who.part {
        Part::Client => (
            "A close() (or exit, or a kill) with one unread byte sends an RST instead of a FIN, and \
             drops what was queued. A client that leaves before it has read the answer does so.",
            "If the answer was wanted, read until recv returns 0 before closing. If the client \
             gave up on purpose there is nothing to do: the RST has told the server.",
        ),
        Part::Server | Part::Unknown => (
            "A close() with one unread byte sends an RST instead of a FIN. It is what happens \
             to a server that answers early (413, 401) and closes while the request is still \
             coming: the client gets ECONNRESET, often instead of the answer.",
            "Read what comes (up to a bound) before closing: shutdown(SHUT_WR), read until \
             recv returns 0, close. lastbyte's close drains by default.",
        ),
    };
    Words {
        id: "reset-by-unread-input",
        what: format!(
            "{who} closed {connections} with unread input, and so reset the {peer}{own}{}",
            victims(who, group),
        ),
        why: why.to_owned(),
        cure: cure.to_owned(),
        myth: Some(
            "SO_LINGER does not help: unread input resets before the linger time is looked at.",
        ),
    }
}

fn close_notify(who: &Who, connections: &str) -> Words {
    Words {
        id: "tls-close-notify-unread",
        what: format!(
            "{who} closed {connections} over 24 or 31 bytes that crossed the close: the size of a \
             TLS close_notify"
        ),
        why: "Both ends of a TLS connection say close_notify; whoever closes without waiting for \
              the other's leaves it unread, and an RST answers it. No application data is in it."
            .to_owned(),
        cure: "None is needed. To avoid the RST, call SSL_shutdown until it has seen the peer's \
               close_notify before closing."
            .to_owned(),
        myth: None,
    }
}

fn while_peer_sent(who: &Who, group: &Group, connections: &str, half_closed: bool) -> Words {
    let peer = who.part.peer();
    let who_did = match half_closed {
        true => format!(
            "{who} shut down its sending side, and closed {connections} before the {peer}'s answer \
             had come: the answer got an RST{}",
            victims(who, group)
        ),
        false => format!(
            "{who} closed {connections} first while the {peer} still sent: that got an RST{}",
            victims(who, group)
        ),
    };
    let (why, cure) = match (who.part, half_closed) {
        (_, true) => (
            "After a half-close (shutdown with SHUT_WR) the other side may still answer, and this \
             end did not wait for it: proxies have a timeout for half-closed connections, and \
             programs forget to read. What came later was answered with an RST; the other end's \
             send() had returned success.",
            "Wait for the answer after a half-close: read until recv returns 0. In proxies raise the \
             half-close timeout above the slowest answer (socat -t, HAProxy timeout client-fin and \
             timeout server-fin, Envoy's idle timeouts).",
        ),
        (Part::Client, false) => (
            "The client left before the whole answer had come. What came later was answered with \
             an RST.",
            "If the answer was wanted, read until recv returns 0 before closing. If the client gave \
             up on purpose there is nothing to do: the RST has told the server.",
        ),
        (Part::Server | Part::Unknown, false) => (
            "The FIN and what the peer sent crossed: an idle timeout closed a kept-alive connection \
             just when its next request came, or a receiver (of logs, of a stream) stopped while \
             the sender went on. The sender's send() had returned success for what was lost.",
            "Let the client close first. Keep the server's idle timeout longer than the client's \
             or balancer's; say the end before it comes (Connection: close, GOAWAY), then \
             shutdown(SHUT_WR) and read until recv returns 0, as lastbyte's close does. Clients \
             repeat a request that was sent on a used connection and got no answer.",
        ),
    };
    Words {
        id: "closed-while-peer-sent",
        what: who_did,
        why: why.to_owned(),
        cure: cure.to_owned(),
        myth: Some(
            "SO_LINGER does not help: it is about what this end sends, not about what it gets.",
        ),
    }
}

fn wrote_after_close(who: &Who, group: &Group, connections: &str) -> Words {
    let peer = who.part.peer();
    let (why, cure) = match who.part {
        Part::Server => (
            "The client's FIN had come, and then its RST: it left while it was being served, or had \
             shut down its side and did not wait for the answer.",
            "Look at the client, or at a proxy between (its half-close timeout). A server can \
             notice by poll (POLLRDHUP) and stop.",
        ),
        Part::Client | Part::Unknown => (
            "The server's FIN had come: it had closed and would read no more. The first send() after \
             it returns success and is lost; only a later one fails (EPIPE, ECONNRESET).",
            "Before an idle connection is used again, look whether recv would return 0 (poll for \
             POLLIN and POLLRDHUP). Keep the client's idle timeout shorter than the server's; repeat \
             what may be repeated. A sender of logs needs an acknowledgement of the application.",
        ),
    };
    Words {
        id: "wrote-after-close",
        what: format!(
            "{who} went on writing after the {peer}'s close, and lost {} on {connections}",
            count(group.lost, "byte"),
        ),
        why: why.to_owned(),
        cure: cure.to_owned(),
        myth: Some("send() returning success means that the kernel took the bytes, no more."),
    }
}

fn listener_closed(who: &Who, group: &Group, connections: &str, seen: &Observations) -> Words {
    let others = group.ports.iter().any(|port| seen.still_listens(*port));
    let migrate = match (others, seen.migrate_req) {
        (true, Some(0)) => {
            " Another socket still listens on the port: where both are of one SO_REUSEPORT group, \
             net.ipv4.tcp_migrate_req=1 (now 0) lets the kernel pass them on to it."
        }
        (false, Some(0)) => {
            " With SO_REUSEPORT and another worker that still listens, \
             net.ipv4.tcp_migrate_req=1 lets the kernel pass them on."
        }
        _ => "",
    };
    Words {
        id: "backlog-reset",
        what: format!(
            "{who} closed a listener over {connections} that nobody had accepted: each got an \
             RST{}",
            victims(who, group)
        ),
        why: "The kernel completes handshakes on its own; what waits in the backlog when the \
              listener closes is reset, though the client believes it is connected and may have \
              sent a request."
            .to_owned(),
        cure: format!(
            "Hand the listening socket to the next process (or drain it: stop new connections at \
             the balancer, accept until EAGAIN, then close).{migrate}"
        ),
        myth: None,
    }
}

fn aborted(who: &Who, group: &Group, connections: &str) -> Words {
    let own = match (group.lost, group.lost_unknown) {
        (0, 0) => String::new(),
        (0, unknown) => format!("; what {unknown} of them discarded is not known"),
        (lost, 0) => format!(", and discarded {}", count(lost, "byte")),
        (lost, _) => format!(", and discarded {} at least", count(lost, "byte")),
    };
    Words {
        id: "aborted-by-linger-zero",
        what: format!(
            "{who} ended {connections} with SO_LINGER on and zero, or by a disconnect{own}{}",
            victims(who, group)
        ),
        why:
            "Such a close discards what is queued and resets the peer, which loses what it had not \
              yet had acknowledged. It is what the program asked for."
                .to_owned(),
        cure: "If it is there to avoid TIME_WAIT, take it out: let the peer close first, or reuse \
               connections. If an abort is meant there is nothing to do."
            .to_owned(),
        myth: None,
    }
}

/// Whom it hit, and what that cost: ``; the client, pid 812 `curl`, lost 77 bytes``.
fn victims(who: &Who, group: &Group) -> String {
    let (first, more) = match group.victims.len() {
        0 => return String::new(),
        many => (group.victims.values().next(), many - 1),
    };
    let Some(victim) = first else {
        return String::new();
    };
    let name = victim.program.map(|name| format!(" `{name}`"));
    let name = name.unwrap_or_default();
    let pids = victim.pids.iter().copied().collect();
    let process = match victim.pids.len() {
        0 => name.trim_start().to_owned(),
        1 => format!("pid {}{name}", list(&pids)),
        many => format!("{} ({many} processes: {})", name.trim_start(), list(&pids)),
    };
    let others = match more {
        0 => String::new(),
        more => format!(" and {}", count(more as u64, "other program")),
    };
    let peer = who.part.peer();
    let mut lost = count(group.victims_lost.known, "byte");
    if group.victims_lost.unknown > 0 {
        lost += " at least";
    }
    match (process.is_empty(), group.victims_lost.known) {
        (true, 0) => String::new(),
        (true, _) => format!("; the {peer} lost {lost}"),
        (false, 0) => format!("; the {peer} was {process}{others}"),
        (false, _) => format!("; the {peer}, {process}{others}, lost {lost}"),
    }
}
