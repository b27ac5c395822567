//! What the code says and what the documentation says are the same.

use std::path::Path;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What comes before the findings.
const GENERAL: [&str; 3] = [
    "Severities and exit status",
    "How findings are made",
    "JSON",
];

#[test]
fn every_finding_has_its_paragraph_and_every_paragraph_its_finding() {
    let page = page("doctor.md");
    let mut anchors: Vec<&str> = page
        .lines()
        .filter_map(|l| l.strip_prefix("## "))
        .filter(|title| !GENERAL.contains(title))
        .collect();
    let mut ids = lastbyte_host::doctor::IDS.to_vec();
    anchors.sort_unstable();
    ids.sort_unstable();
    assert_eq!(anchors, ids);
}

#[test]
fn every_key_of_the_json_line_is_documented() {
    use lastbyte_host::event::{Bytes, Ending, Evidence};
    use lastbyte_host::tuple::{Endpoint, Tuple};
    let ending = Ending {
        time: std::time::UNIX_EPOCH,
        opened: None,
        tuple: Tuple {
            local: Endpoint::UNKNOWN,
            remote: Endpoint::UNKNOWN,
        },
        owner: None,
        closer: None,
        fate: None,
        error: None,
        closed_first: None,
        rst: None,
        bytes: Bytes::default(),
        states: None,
        evidence: Evidence::Inferred,
        mptcp: None,
        netns: None,
        cgroup: None,
        manner: lastbyte_host::event::Manner::default(),
    };
    let line: serde_json::Value = serde_json::from_str(&ending.to_json()).expect("it is JSON");
    let page = page("watch.md");
    for key in line.as_object().expect("an object").keys() {
        assert!(
            page.contains(&format!("`{key}`")),
            "{key} is not documented"
        );
    }
    // The order that the format begins with is part of it.
    let keys = [
        "time",
        "local",
        "remote",
        "pid",
        "comm",
        "fate",
        "closed_first",
        "rst_by",
        "rst_reason",
        "sent",
        "acked",
        "received",
        "lost",
        "unread",
        "states_us",
        "evidence",
    ];
    let text = ending.to_json();
    let places: Vec<_> = keys
        .iter()
        .map(|key| text.find(&format!("\"{key}\":")))
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{text}"
    );
}

#[test]
fn every_key_of_a_finding_is_documented() {
    use lastbyte_host::doctor::{Listener, Observations, Part, Party, Stuck, findings};
    use lastbyte_host::tuple::{Endpoint, State, Tuple};
    let on = Endpoint::new([10, 0, 0, 1].into(), 80);
    let waits = Stuck {
        tuple: Tuple {
            local: on,
            remote: Endpoint::new([10, 0, 0, 2].into(), 40000),
        },
        state: State::CloseWait,
        age: std::time::Duration::from_secs(9),
        owner: None,
        party: Party {
            name: None,
            part: Part::Server,
            port: Some(80),
        },
        fd: None,
        held: false,
        inherited: None,
        rqueue: 1,
        wqueue: 0,
    };
    let seen = Observations {
        stuck: vec![waits],
        listeners: vec![Listener {
            on,
            queued: 1,
            backlog: 8,
            owner: None,
        }],
        ..Observations::default()
    };
    let found = serde_json::to_value(findings(&seen)).expect("it is JSON");
    let page = page("doctor.md");
    let examples = &found[0]["examples"][0];
    for object in [&found[0], examples] {
        let object = object.as_object().expect("an object");
        for key in object.keys() {
            let named = page.contains(&format!("`{key}`"));
            assert!(named, "{key} is not documented");
        }
    }
    let keys = found[0].as_object().expect("an object").len();
    assert_eq!(keys, 15, "a key is missing: they are always there");
}
