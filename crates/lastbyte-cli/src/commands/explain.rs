//! `lastbyte explain`: what a word of the kernel means for a connection's end.

use std::io::{self, Write};

use lastbyte_host::explain::{all, find, like};

use crate::status::{DONE, Status, USAGE};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An errno (name or number), TCP state, counter, RST reason, fate or setting; without
    /// it, all that can be explained are listed.
    #[arg(value_name = "ERRNO|STATE|COUNTER|REASON")]
    word: Option<String>,
}

pub(crate) fn run(args: &Args) -> Status {
    let mut out = io::stdout().lock();
    let Some(word) = &args.word else {
        for entry in all() {
            // A reader that has read enough is no error.
            if writeln!(out, "{:26} {}", entry.name, entry.kind.as_str()).is_err() {
                break;
            }
        }
        return DONE;
    };
    let entries = find(word);
    if entries.is_empty() {
        let near = like(word);
        eprintln!(
            "lastbyte: nothing is known of {word:?}; {}",
            match near.is_empty() {
                true => "`lastbyte explain` lists all words".to_owned(),
                false => format!("did you mean {}?", near.join(", ")),
            }
        );
        return USAGE;
    }
    for (number, entry) in entries.iter().enumerate() {
        let gap = if number > 0 { "\n" } else { "" };
        let written = writeln!(
            out,
            "{gap}{}: {}\n  {}\n  What to do: {}",
            entry.name,
            entry.kind.as_str(),
            entry.meaning,
            entry.todo
        );
        if written.is_err() {
            break;
        }
    }
    DONE
}
