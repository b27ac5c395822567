//! The repository's documents: no link leads to nothing, and what doctor points to is
//! printed by the command and in the man page.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lastbyte_host::doctor::IDS;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use common::lastbyte;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository")
}

/// Every Markdown document below `folder` that belongs to the repository.
fn documents(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_link = path.symlink_metadata().is_ok_and(|data| data.is_symlink());
        if path.is_dir() && !is_link && name != "target" && name != ".git" {
            documents(&path, into);
        } else if name.ends_with(".md") && !is_link {
            into.push(path);
        }
    }
}

/// What a document offers and what it points to.
#[derive(Default)]
struct Document {
    anchors: BTreeSet<String>,
    links: Vec<String>,
}

fn read(text: &str) -> Document {
    let mut document = Document::default();
    let mut heading = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let heading = heading.take().unwrap_or_default();
                document.anchors.insert(anchor(&heading));
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                document.links.push(dest_url.into_string());
            }
            Event::Text(words) | Event::Code(words) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                }
            }
            _ => {}
        }
    }
    document
}

/// The anchor that a heading gets where Markdown is shown.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn no_link_leads_to_a_place_that_does_not_exist() {
    let mut paths = Vec::new();
    documents(&root(), &mut paths);
    let all: BTreeMap<PathBuf, Document> = paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a document");
            (path, read(&text))
        })
        .collect();
    assert!(all.len() > 10, "{:?}", all.keys());
    let mut broken = Vec::new();
    for (path, document) in &all {
        let folder = path.parent().expect("a file has a folder");
        for link in document.links.iter().filter(|link| !link.contains("://")) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match target.is_empty() {
                true => path.clone(),
                false => folder.join(target),
            };
            let found = target.canonicalize().is_ok_and(|target| {
                anchor.is_empty()
                    || all
                        .get(&target)
                        .is_some_and(|found| found.anchors.contains(anchor))
            });
            if !found {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// A finding names `lastbyte explain ID`; that prints the paragraph of `docs/doctor.md`, and
/// the man page has it under its id.
#[test]
fn what_doctor_points_to_is_printed_and_installed() {
    let document = fs::read_to_string(root().join("docs/doctor.md")).expect("the page");
    let pages = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("docs-{}", std::process::id()));
    fs::create_dir_all(&pages).expect("a folder");
    lastbyte(&["man", pages.to_str().expect("text")]);
    let page = fs::read_to_string(pages.join("lastbyte-doctor.1")).expect("a page");
    fs::remove_dir_all(&pages).expect("ours");
    for id in IDS {
        let paragraph = document.split(&format!("\n## {id}\n")).nth(1);
        let first = paragraph.and_then(|text| text.trim_start().lines().next());
        let first = first
            .unwrap_or_else(|| panic!("{id} has no paragraph"))
            .replace('*', "");
        let printed = lastbyte(&["explain", id]);
        assert!(printed.contains(&first), "{id}: {first:?} in\n{printed}");
        let heading = format!("\n.SH {}\n", id.to_uppercase());
        assert!(
            page.contains(&heading),
            "lastbyte-doctor.1 has no {heading}"
        );
    }
}

/// The names that stand in quotation marks or as keys in one table of a manifest.
fn keys(manifest: &str, table: &str) -> Vec<String> {
    let rest = manifest
        .split(&format!("\n[{table}]\n"))
        .nth(1)
        .unwrap_or_default();
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()))
        .collect()
}

#[test]
fn every_feature_crate_and_subcommand_is_documented() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_default();
    let library = read("docs/library.md");
    for feature in keys(&read("crates/lastbyte/Cargo.toml"), "features") {
        let hidden = feature == "default" || feature.ends_with("internals");
        assert!(
            hidden || library.contains(&format!("| `{feature}` |")),
            "docs/library.md has no feature {feature}"
        );
    }
    let (crates, map) = (read("crates/README.md"), read("ARCHITECTURE.md"));
    for entry in fs::read_dir(root().join("crates")).expect("the crates") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        if entry.path().join("Cargo.toml").exists() {
            assert!(
                crates.contains(&format!("**{name}**")),
                "crates/README.md has no {name}"
            );
            assert!(map.contains(&name), "ARCHITECTURE.md has no {name}");
        }
    }
    let help = lastbyte(&["--help"]);
    for name in ["lab", "run", "watch", "doctor", "explain", "send", "recv"] {
        assert!(help.contains(&format!("\n  {name} ")), "{help}");
        assert!(
            root().join(format!("docs/{name}.md")).exists(),
            "docs/{name}.md"
        );
    }
}
