//! `lastbyte explain`: what a word of the kernel means for a connection's end.

use std::io::{self, Write};

use lastbyte_host::explain::{Entry, Kind, all, find, like};

use crate::complete::Completed;
use crate::output::{ended, note, output};
use crate::status::{DONE, Status, USAGE};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 explained, 2 nothing is known of the word, or standard output cannot be written."
)]
pub(crate) struct Args {
    /// An errno (name or number), TCP state, counter (as nstat prints it), RST reason, fate,
    /// setting, finding, or the message of a program, such as "connection reset by peer";
    /// without it, all that can be explained are listed.
    #[arg(value_name = "WORD|MESSAGE", value_parser = WORD, hide_possible_values = true)]
    words: Vec<String>,
}

const WORD: Completed<String> = Completed {
    parse: |word| Ok(word.to_owned()),
    words: || all().map(|entry| entry.name).collect(),
};

pub(crate) fn run(args: &Args) -> Status {
    if args.words.is_empty() {
        return ended(list(&mut output()), DONE);
    }
    let word = &args.words.join(" ");
    let entries = find(word);
    if entries.is_empty() {
        let near = like(word);
        note!(
            "nothing is known of {word:?}; {}",
            match near.is_empty() {
                true => "`lastbyte explain` lists all words".to_owned(),
                false => format!("did you mean {}?", near.join(", ")),
            }
        );
        return USAGE;
    }
    ended(meanings(&mut output(), &entries), DONE)
}

fn list(out: &mut impl Write) -> io::Result<()> {
    for entry in all() {
        writeln!(out, "{:26} {}", entry.name, entry.kind.as_str())?;
    }
    out.flush()
}

fn meanings(out: &mut impl Write, entries: &[&Entry]) -> io::Result<()> {
    for (number, entry) in entries.iter().enumerate() {
        let gap = if number > 0 { "\n" } else { "" };
        writeln!(
            out,
            "{gap}{}: {}\n  {}\n  What to do: {}",
            entry.name,
            entry.kind.as_str(),
            entry.meaning,
            entry.todo
        )?;
        if entry.kind == Kind::Finding {
            paragraph(out, entry.name)?;
        }
    }
    out.flush()
}

/// Returns what `docs/doctor.md`, which is also the man page, has of a finding.
fn paragraph(out: &mut impl Write, id: &str) -> io::Result<()> {
    let heading = format!("## {id}");
    let lines = super::man::DOCTOR.lines();
    let section = lines.skip_while(|line| *line != heading).skip(1);
    for line in section.take_while(|line| !line.starts_with("## ")) {
        let line = line.replace('*', "");
        writeln!(out, "{}", format!("  {line}").trim_end())?;
    }
    writeln!(out, "  man lastbyte-doctor has all findings.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).expect("a vector takes all");
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn meanings_of_words() {
        // An errno, a state, a counter, a reason, a finding with its paragraph, a message.
        let words = "104 CLOSE_WAIT TcpExtTCPAbortOnClose TCP_ABORT_ON_DATA peer-silent";
        let words = words.split(' ').chain(["Broken pipe"]);
        let entries: Vec<_> = words.flat_map(find).collect();
        insta::assert_snapshot!(printed(|out| meanings(out, &entries)));
    }

    #[test]
    fn the_table_of_all_words() {
        insta::assert_snapshot!(printed(list));
    }
}
