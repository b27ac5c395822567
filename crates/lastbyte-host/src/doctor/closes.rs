//! Closes that returned 0 and lost data, and closes that reset the peer.

use super::observations::Cause;
use super::{Finding, Group, Observations, count, who};

/// Data lost though close() returned 0.
pub(super) fn lost_after_close(seen: &Observations, found: &mut Vec<Finding>) {
    for ((process, cause), group) in &seen.lost {
        let why = match cause {
            Cause::PeerReset => {
                "The peer reset the connection after close() had returned 0; nobody was left to be \
                 told."
            }
            Cause::LateInput => {
                "The peer sent more after close(); Linux answers that with an RST and drops what \
                 was still queued."
            }
            Cause::UnreadInput => {
                "There was unread input at close(); Linux then sends an RST and drops the whole \
                 send queue."
            }
            Cause::Silence => {
                "The peer acknowledged nothing more until the kernel gave up, after close() had \
                 returned 0."
            }
            Cause::Other => "The connection was torn down after close() had returned 0.",
        };
        found.push(Finding::new(
            "lost-after-close",
            format!(
                "{} closed {} successfully and lost {} that send() had accepted{}",
                who(*process),
                count(group.connections, "connection"),
                count(group.lost, "byte"),
                example(group),
            ),
            why,
            "Do not close before the peer has it: shutdown(SHUT_WR), read until recv returns 0, \
             then close; or close with lastbyte (Policy::wait), which waits for the ACK of data \
             and FIN and reports what was lost.",
        ));
    }
}

/// Resets because input was unread: a server that answers early.
pub(super) fn unread_input(seen: &Observations, found: &mut Vec<Finding>) {
    for (process, group) in &seen.unread {
        found.push(
            Finding::new(
                "reset-by-unread-input",
                format!(
                    "{} closed {} with unread input, and so reset the peer{}{}",
                    who(*process),
                    count(group.connections, "connection"),
                    match group.lost {
                        0 => String::new(),
                        lost => format!(" and lost {}", count(lost, "byte")),
                    },
                    example(group),
                ),
                "A close() with one unread byte sends an RST instead of a FIN. It is what happens \
                 to a server that answers early (413, 401) and closes while the request is still \
                 coming: the client gets ECONNRESET, often instead of the answer.",
                "Read what comes (up to a bound) before closing: shutdown(SHUT_WR), read until \
                 recv returns 0, close. lastbyte's close drains by default.",
            )
            .myth(
                "SO_LINGER does not help: unread input resets before the linger time is looked at.",
            ),
        );
    }
}

fn example(group: &Group) -> String {
    match group.example {
        Some(tuple) => format!(" (such as {} to {})", tuple.local, tuple.remote),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lost_is_no_finding_and_a_loss_is_told_in_bytes() {
        let mut found = Vec::new();
        let mut seen = Observations::default();
        lost_after_close(&seen, &mut found);
        assert_eq!(found, []);
        let group = Group {
            connections: 2,
            lost: 77,
            example: None,
        };
        seen.lost.insert((None, Cause::PeerReset), group);
        lost_after_close(&seen, &mut found);
        assert!(
            found[0]
                .what
                .contains("2 connections successfully and lost 77 bytes")
        );
    }
}
