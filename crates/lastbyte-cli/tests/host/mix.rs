//! The scripted mix: every verdict, number, owner and reason against what the
//! sockets themselves said.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use lastbyte_testkit::need_path;
use serde_json::Value;

use crate::space::{Binary, Space, Watch, text};

const SCRIPT: &str = include_str!("mix.py");
const SOCKETS: &str = include_str!("sockets.py");
const PYTHON: &str = "/usr/bin/python3";

pub(crate) fn as_root() {
    let space = Space::new();
    let binary = Binary::new();
    binary.beside("sockets.py", SOCKETS);
    let script = binary.beside("mix.py", SCRIPT);
    let watch = Watch::start(space.command(binary.path()), &["--json"]);
    let truths = truths(|| space.command(PYTHON), &script);
    let (lines, said) = watch.stop();
    let told = by_ends(lines);
    let mut wrong = Vec::new();
    for truth in &truths {
        let Some(ending) = told.get(&ends(truth)) else {
            wrong.push(format!("{}: not told", named(truth)));
            continue;
        };
        wrong.extend(wrong_fields(truth, ending));
        if let Some(held) = truth["held_s"].as_f64() {
            let told = ending["states_us"]["close_wait"].as_f64().unwrap_or(0.0) / 1e6;
            if !(held - 0.1..held + 1.0).contains(&told) {
                wrong.push(format!(
                    "{}: held {held} s in CLOSE_WAIT, told {told}",
                    named(truth)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
}

pub(crate) fn as_user() {
    let space = Space::new();
    let binary = Binary::new();
    binary.beside("sockets.py", SOCKETS);
    let script = binary.beside("mix.py", SCRIPT);
    let watch = Watch::start(space.command_as_user(binary.path()), &["--json"]);
    let truths = truths(|| space.command_as_user(PYTHON), &script);
    let (lines, said) = watch.stop();
    assert!(
        said.contains("no tracepoints") && said.contains("root"),
        "{said}"
    );
    let told = by_ends(lines);
    let mut wrong = Vec::new();
    let (mut shown, mut hidden) = (0, 0);
    for truth in &truths {
        // The kernel has cleared a wiped socket's ends; what is left is enough here.
        let ending = told.get(&ends(truth)).or_else(|| wiped(&told, truth));
        let Some(ending) = ending else {
            wrong.push(format!("{}: not told", named(truth)));
            continue;
        };
        if ending["evidence"] != "inferred" {
            wrong.push(format!("{}: claims {}", named(truth), ending["evidence"]));
        }
        for (field, expected) in fields(truth) {
            let told = &ending[field];
            // That the FIN was acknowledged is true of both.
            let weaker = field == "fate" && told == "delivered" && expected == "confirmed";
            if told.is_null() {
                hidden += 1;
            } else if told == expected || weaker {
                shown += 1;
            } else {
                wrong.push(format!(
                    "{}: {field} is {expected}, told {told}",
                    named(truth)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
    println!("as an ordinary user: {shown} fields shown, all right; {hidden} null");
    // Null everywhere would be right too, and useless: 130 of each family are shown on
    // Linux 6.18.
    assert!(shown >= 300, "{shown} fields shown, {hidden} null");
}

/// What the script's connections truly were: by IPv4, by IPv6 and between both, at
/// the same time.
fn truths(python: impl Fn() -> Command, script: &Path) -> Vec<Value> {
    need_path(PYTHON, "python3");
    let scripts: Vec<_> = ["4", "6", "both"]
        .into_iter()
        .map(|family| {
            python()
                .arg(script)
                .arg(family)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts")
        })
        .collect();
    let mut truths = Vec::new();
    for script in scripts {
        let output = script.wait_with_output().expect("it can be waited for");
        assert!(output.status.success(), "{}", text(&output.stderr));
        for line in text(&output.stdout).lines() {
            let truth: Value = serde_json::from_str(line).expect("the script writes JSON");
            truths.push(truth);
        }
    }
    assert_eq!(truths.len(), 3 * 32, "each family has the whole mix");
    truths
}

/// The fields of an ending that were told otherwise than they truly were.
pub(crate) fn wrong_fields(truth: &Value, ending: &Value) -> Vec<String> {
    fields(truth)
        .filter(|(field, expected)| {
            let told = &ending[field.as_str()];
            match expected["any"].as_array() {
                Some(any) => !any.contains(told),
                None => told != *expected,
            }
        })
        .map(|(field, expected)| {
            let (named, told) = (named(truth), &ending[field.as_str()]);
            format!("{named}: {field} is {expected}, told {told}")
        })
        .collect()
}

fn named(truth: &Value) -> String {
    let (local, remote) = ends(truth);
    format!("{} ({local} to {remote})", truth["name"])
}

pub(crate) fn ends(ending: &Value) -> (String, String) {
    let end = |name: &str| ending[name].as_str().unwrap_or_default().to_owned();
    (end("local"), end("remote"))
}

pub(crate) fn by_ends(lines: Vec<Value>) -> HashMap<(String, String), Value> {
    let mut told = HashMap::new();
    for line in lines {
        let before = told.insert(ends(&line), line);
        if let Some(before) = before {
            let (_, remote) = ends(&before);
            assert!(remote.ends_with('*'), "told twice: {before}");
        }
    }
    told
}

fn wiped<'a>(told: &'a HashMap<(String, String), Value>, truth: &Value) -> Option<&'a Value> {
    let port = |end: &str| end.rsplit(':').next().unwrap_or_default().to_owned();
    let (local, _) = ends(truth);
    told.iter()
        .find(|((l, r), _)| r.ends_with('*') && port(l) == port(&local))
        .map(|(_, ending)| ending)
}

fn fields(truth: &Value) -> impl Iterator<Item = (&String, &Value)> {
    truth
        .as_object()
        .expect("the script writes objects")
        .iter()
        .filter(|(field, _)| !matches!(field.as_str(), "name" | "local" | "remote" | "held_s"))
}
