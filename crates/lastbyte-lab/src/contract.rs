//! The rows of the contract: the one list of their ids. The documents of the library
//! (`lastbyte::manual::contract`) and of the repository (`docs/contract.md`) have the same
//! rows; tests compare them.

/// A row of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clause {
    /// `D2`. Its letter is its section's.
    pub id: &'static str,
    /// When it applies.
    pub situation: &'static str,
    /// What lastbyte does, in place of a measurement, and what shows it: the rows that the
    /// lab does not run. `None` for those that it runs.
    pub elsewhere: Option<Elsewhere>,
}

/// A row that other tests show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// What lastbyte does.
    pub kept: &'static str,
    /// The tests, as a path in the repository.
    pub test: &'static str,
}

/// The sections, in order: the letter that ids begin with, and the title.
pub const SECTIONS: &[(char, &str)] = &[
    ('A', "The option"),
    ('B', "Off: return now, deliver in the background"),
    ('C', "Abort: on, 0"),
    ('D', "Wait: on, N, blocking"),
    ('E', "Wait: on, N, non-blocking"),
    ('F', "Many"),
    ('H', "TIME_WAIT, and the descriptor that nobody closed"),
    ('U', "Programs that nobody will change"),
];

/// Every row, in order.
pub const CONTRACT: &[Clause] = &[
    run("A1", "get on a fresh socket"),
    run("A2", "set and get back"),
    run("A3", "a wait of 500 ms"),
    run("A4", "units"),
    run("A5", "a negative `l_linger` left by another program"),
    run("B1", "data queued, the peer reads later"),
    run("B2", "unread input in our receive queue"),
    run("B3", "the peer sends after we closed"),
    run("B4", "the process exits right after"),
    elsewhere(
        "B5",
        "the program had shut down its reading side, and the peer sends on",
        "everything arrives, then EOF. Where the program has a socket filter of its own, the report has our RST",
        "crates/lastbyte/tests/shut_reading.rs",
    ),
    elsewhere(
        "B6",
        "the connection came by TCP Fast Open and its handshake is not over",
        "everything arrives, then EOF; the fate is not `delivered` before it is",
        "crates/lastbyte/tests/fast_open.rs",
    ),
    run("C1", "data queued"),
    run("C2", "afterwards"),
    run("C3", "from any state"),
    run("D1", "everything acknowledged in time"),
    run("D2", "time runs out"),
    run("D3", "the peer resets during the wait"),
    run("D4", "has the application read it?"),
    run("D5", "a signal arrives"),
    run("D6", "unread input, before or during the wait"),
    run("D7", "the network is gone"),
    run("D8", "other threads"),
    elsewhere(
        "D9",
        "the kernel gives up while the peer's own close is awaited",
        "the fate is `failed` with that error; `reset` is the peer's RST alone",
        "crates/lastbyte/tests/cause.rs",
    ),
    run("E1", "the call"),
    run("E2", "finishing later"),
    run("E3", "the handle is dropped"),
    run("F1", "thousands of closes at once"),
    elsewhere(
        "F2",
        "descriptors, threads or memory exhausted",
        "a clear error, the socket given back",
        "crates/lastbyte/tests/resources.rs",
    ),
    elsewhere(
        "F3",
        "a drain of many with one deadline, as in a deploy",
        "a report for each connection, and the sums",
        "crates/lastbyte/tests/tokio_shutdown.rs",
    ),
    elsewhere(
        "H1",
        "a server does not close after recv returned 0",
        "`lastbyte doctor` names the process and the descriptors",
        "crates/lastbyte-cli/tests/host/ills.rs",
    ),
    elsewhere(
        "H2",
        "whoever closes first keeps TIME_WAIT",
        "`lastbyte doctor` shows it for both sides, with the local ports left",
        "crates/lastbyte-cli/tests/host/story.rs",
    ),
    elsewhere(
        "H3",
        "on+0 as a cure",
        "`lastbyte doctor` shows the bytes that this cure loses",
        "crates/lastbyte-cli/tests/host/blame.rs",
    ),
    elsewhere(
        "H4",
        "the same without TIME_WAIT and without loss",
        "`Policy::with_time_wait(false)` loses nothing and leaves no TIME_WAIT",
        "crates/lastbyte/tests/abort.rs",
    ),
    elsewhere(
        "U1",
        "every way to let go of a connection, through every call and at the process's end",
        "rows A to E, or exactly the kernel's close",
        "crates/lastbyte-cli/tests/run/ways.rs",
    ),
    elsewhere(
        "U2",
        "what was not covered",
        "counted, by reason",
        "crates/lastbyte-cli/tests/run/sharing.rs",
    ),
    elsewhere(
        "U3",
        "with or without a log",
        "the same packets",
        "crates/lastbyte-matrix/tests/matrix/main.rs",
    ),
    elsewhere(
        "U4",
        "the program's own view: pids, signals, descriptors, environment",
        "as without lastbyte",
        "crates/lastbyte-cli/tests/run/view.rs",
    ),
    elsewhere(
        "U5",
        "a hostile program, another user's worker",
        "cannot block, exhaust, forge or misuse the supervisor",
        "crates/lastbyte-cli/tests/run/hostile.rs",
    ),
];

const fn run(id: &'static str, situation: &'static str) -> Clause {
    Clause {
        id,
        situation,
        elsewhere: None,
    }
}

const fn elsewhere(
    id: &'static str,
    situation: &'static str,
    kept: &'static str,
    test: &'static str,
) -> Clause {
    Clause {
        id,
        situation,
        elsewhere: Some(Elsewhere { kept, test }),
    }
}

/// Returns when the row with this id applies.
#[must_use]
pub fn situation(id: &str) -> Option<&'static str> {
    let clause = CONTRACT.iter().find(|clause| clause.id == id)?;
    Some(clause.situation)
}
