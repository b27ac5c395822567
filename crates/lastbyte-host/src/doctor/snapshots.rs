//! Every sentence of the findings that are not about a close, as a whole to be read.

use std::time::Duration;

use super::{Finding, Listener, Observations, Part, Party, Stuck, TimeWaitCounts, findings};
use crate::parse::procnet::Counters;
use crate::process::{Comm, Process};
use crate::time_wait::Direction;
use crate::tuple::{Endpoint, PortRange, State, Tuple};

/// What is printed of each.
pub(super) fn text(found: &[Finding]) -> String {
    let one = |finding: &Finding| {
        let Finding {
            id,
            what,
            why,
            cure,
            ..
        } = finding;
        let severity = finding.severity.as_str();
        let myth = finding
            .myth
            .map_or(String::new(), |myth| format!("\nNot:  {myth}"));
        format!("{id} [{severity}] {what}.\nWhy:  {why}\nCure: {cure}{myth}\n")
    };
    found.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn app() -> Process {
    Process {
        pid: 812,
        comm: Comm::from_bytes(b"app"),
    }
}

fn stuck(state: State, port: u16, rqueue: u32) -> Stuck {
    Stuck {
        tuple: Tuple {
            local: Endpoint::new([10, 0, 0, 1].into(), port),
            remote: Endpoint::new([10, 0, 0, 2].into(), 40_000),
        },
        state,
        age: Duration::from_secs(90),
        owner: Some(app()),
        party: Party {
            name: Some(app().comm),
            part: Part::Server,
            port: Some(port),
        },
        fd: Some(7),
        held: true,
        inherited: None,
        rqueue,
        wqueue: 0,
    }
}

#[test]
fn sentences_about_sockets() {
    let unaccepted = Stuck {
        owner: None,
        fd: None,
        held: false,
        ..stuck(State::Established, 81, 0)
    };
    let orphan = Stuck {
        wqueue: 4096,
        ..Stuck {
            owner: None,
            fd: None,
            held: false,
            ..stuck(State::FinWait1, 83, 0)
        }
    };
    let seen = Observations {
        window: Duration::from_secs(10),
        root: true,
        stuck: vec![
            stuck(State::CloseWait, 80, 1),
            unaccepted,
            stuck(State::FinWait2, 82, 0),
            orphan,
        ],
        listeners: vec![Listener {
            on: Endpoint::new([10, 0, 0, 1].into(), 81),
            queued: 1,
            backlog: 8,
            owner: Some(app()),
        }],
        ..Observations::default()
    };
    insta::assert_snapshot!(text(&findings(&seen)));
}

#[test]
fn sentences_about_time_wait_and_counters() {
    let out = Direction::Out {
        from: [10, 0, 0, 1].into(),
        to: Endpoint::new([10, 0, 0, 2].into(), 80),
    };
    let on = Endpoint::new([10, 0, 0, 1].into(), 443);
    let counts = |before, after| TimeWaitCounts {
        before,
        after,
        closers: [(app(), 5)].into(),
    };
    let counters = [
        "TcpExt.TCPTimeWaitOverflow",
        "TcpExt.TCPAbortOnMemory",
        "TcpExt.ListenOverflows",
    ];
    let at = |number: i64| Counters::from(counters.map(|name| (name.to_owned(), number)));
    let seen = Observations {
        window: Duration::from_secs(10),
        root: true,
        time_wait: [
            (out, counts(0, 10_000)),
            (Direction::In { on }, counts(4_000, 5_000)),
        ]
        .into(),
        ports: Some(PortRange {
            first: 32_768,
            last: 60_999,
        }),
        tw_reuse: Some(2),
        max_tw_buckets: Some(65_536),
        before: at(5),
        after: at(8),
        ..Observations::default()
    };
    insta::assert_snapshot!(text(&findings(&seen)));
}
