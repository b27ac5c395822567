//! What the code says and what the documentation says are the same.

use std::path::Path;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What comes before the findings.
const GENERAL: [&str; 5] = [
    "Severities and exit status",
    "How findings are made",
    "JSON",
    "What needs which privilege",
    "Findings",
];

#[test]
fn every_finding_has_its_paragraph_and_every_paragraph_its_finding() {
    let page = page("doctor.md");
    let mut anchors: Vec<&str> = page
        .lines()
        .filter_map(|l| l.strip_prefix("## "))
        .filter(|title| !GENERAL.contains(title))
        .collect();
    let mut ids = crate::doctor::IDS.to_vec();
    anchors.sort_unstable();
    ids.sort_unstable();
    assert_eq!(anchors, ids);
}

#[test]
fn every_key_of_the_json_line_is_documented() {
    let ending = crate::ending::Ending::unknown();
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
    use crate::doctor::{Listener, Observations, Part, Party, Stuck, findings};
    use crate::tuple::{Endpoint, State, Tuple};
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

/// In backticks, and no word of ours: keys of the keyboard, other programs, examples.
const NOT_EXPLAINED: [&str; 15] = [
    "Tab", "Enter", "Esc", "PgUp", "PgDn", "Accept", "nohup", "lastbyte", "watch", "NO_COLOR",
    "connect", "p", "Home", "End", "Ctrl-U",
];

#[test]
fn every_word_that_the_docs_print_is_explained() {
    let mut missing = Vec::new();
    for name in ["doctor.md", "watch.md"] {
        let page = page(name);
        let quoted = page.split('`').skip(1).step_by(2);
        let quoted = quoted.filter(|word| {
            let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.=".contains(c);
            word.chars().all(is_word) && !word.starts_with('-') && word.len() > 1
        });
        let terms = terms(&page);
        for word in quoted.map(str::to_owned).chain(terms) {
            let known = !crate::explain::find(&word).is_empty();
            if !known && !NOT_EXPLAINED.contains(&&*word) {
                missing.push(word);
            }
        }
    }
    missing.sort();
    missing.dedup();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_term_that_doctor_and_watch_print_is_explained() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut missing = Vec::new();
    for file in [
        "doctor/backlog.rs",
        "doctor/closes/words.rs",
        "doctor/finding.rs",
        "doctor/resources.rs",
        "doctor/strays.rs",
        "doctor/stuck.rs",
        "doctor/time_wait.rs",
        "reason.rs",
        "watch/mod.rs",
        "watch/notes.rs",
    ] {
        let path = source.join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for term in terms(line).filter(|_| line.contains('"') || line.ends_with('\\')) {
                if crate::explain::find(&term).is_empty() && !CONSTANTS.contains(&&*term) {
                    missing.push(format!("{file}: {term}"));
                }
            }
        }
    }
    missing.sort();
    missing.dedup();
    assert_eq!(missing, Vec::<String>::new());
    for id in crate::doctor::IDS {
        assert!(!crate::explain::find(id).is_empty(), "{id}");
    }
}

/// Names in the code, in the same lines as what is printed.
const CONSTANTS: [&str; 2] = ["FIRST_NAMESPACE", "LISTENER_CLOSED"];

/// Errnos, states, options, counters and sysctls: what nobody takes for English.
fn terms(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| {
            let upper = word.chars().all(|c| !c.is_ascii_lowercase());
            let option = upper && word.contains('_') && word.len() > 4;
            let errno = upper && word.len() > 4 && word.starts_with('E');
            let counter = !upper && word.starts_with("TCP") && !word.contains('_');
            let sysctl = ["tcp_", "nf_", "ip_local"]
                .iter()
                .any(|start| word.starts_with(start));
            option || errno || counter || sysctl
        })
        .map(str::to_owned)
}
