//! What a watch sees: its sources and the network namespaces.

use std::collections::BTreeMap;
use std::io::{self, Write};

use lastbyte_host::watch::Netns;
use lastbyte_host::watch::Watcher;

use crate::output::note;

/// `--sources`: the sources, and what is missing of them.
pub(super) fn print(watcher: &Watcher) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for source in watcher.sources() {
        let state = match &source.missing {
            None => "yes".to_owned(),
            Some(why) => format!("no: {why}"),
        };
        writeln!(out, "{:16} {:48} {state}", source.name, source.tells)?;
    }
    for netns in watcher.namespaces() {
        writeln!(out, "{:16} {}", "namespace", named(netns))?;
    }
    if watcher.sees_all_namespaces() {
        match watcher.namespaces_closed() {
            0 => {}
            closed => writeln!(out, "{:16} {closed} more that may not be entered", "")?,
        }
    }
    out.flush()
}

/// The network namespaces that were told of, so that each is once.
#[derive(Default)]
pub(super) struct Namespaces {
    told: BTreeMap<u64, String>,
    closed: usize,
}

impl Namespaces {
    /// Says on stderr which are seen, which came and which went since.
    pub(super) fn tell(&mut self, watcher: &Watcher) {
        let now: BTreeMap<_, _> = watcher
            .namespaces()
            .map(|netns| (netns.inode, named(netns)))
            .collect();
        if self.told.is_empty() {
            let names: Vec<_> = now.values().map(String::as_str).collect();
            let others = match watcher.sees_all_namespaces() {
                true => "and those to come",
                false => "and no other",
            };
            note!("seen: network namespace {}, {others}", names.join(", "));
        } else {
            for (inode, name) in &now {
                if !self.told.contains_key(inode) {
                    note!("network namespace {name} came");
                }
            }
            for (inode, name) in &self.told {
                if !now.contains_key(inode) {
                    note!("network namespace {name} went");
                }
            }
        }
        self.told = now;
        let closed = watcher.namespaces_closed();
        if closed > self.closed {
            note!(
                "network namespaces that may not be entered, and are not seen: {closed} \
                 (CAP_SYS_ADMIN in each is needed)"
            );
        }
        self.closed = closed;
    }
}

fn named(netns: &Netns) -> String {
    match (&netns.name, netns.own) {
        (Some(name), _) => format!("{netns} ({name})"),
        (None, true) => format!("{netns} (this process's)"),
        (None, false) => netns.to_string(),
    }
}
