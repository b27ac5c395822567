//! The fates of lastbyte.

use super::Entry;
use super::Kind::Fate;

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "delivered",
        kind: Fate,
        meaning: "The peer's TCP acknowledged all data and the FIN. Whether its application read \
                  them cannot be known.",
        todo: "Nothing; ask for `confirmed` to know more.",
    },
    Entry {
        name: "confirmed",
        kind: Fate,
        meaning: "Delivered, and the peer closed its side too.",
        todo: "Nothing.",
    },
    Entry {
        name: "timed_out",
        kind: Fate,
        meaning: "The close's deadline came first; the rest was discarded with an RST.",
        todo: "Allow more time, or accept the loss: the report counts it.",
    },
    Entry {
        name: "stalled",
        kind: Fate,
        meaning: "The peer acknowledged nothing new for the stall time.",
        todo: "The peer does not read, or is gone.",
    },
    Entry {
        name: "reset",
        kind: Fate,
        meaning: "The peer sent an RST before everything was delivered and closed.",
        todo: "See ECONNRESET.",
    },
    Entry {
        name: "failed",
        kind: Fate,
        meaning: "The kernel gave the connection up (ETIMEDOUT, EHOSTUNREACH …).",
        todo: "See the errno.",
    },
    Entry {
        name: "aborted",
        kind: Fate,
        meaning: "Our own RST ended it: on+0, unread input at close, late input, a closed listener.",
        todo: "`rst_reason` tells which.",
    },
    Entry {
        name: "detached",
        kind: Fate,
        meaning: "Left to the kernel or to a background closer; what becomes of it is not awaited.",
        todo: "Wait for it if it matters.",
    },
];
