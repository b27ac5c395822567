//! `lastbyte man`: one page for the command and one for each subcommand. Options come
//! from the definition of the command line, the rest from the documents in `docs`.

mod markdown;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::output::note;
use crate::status::{DONE, Status, USAGE};

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 the pages are written, 2 they cannot be written.")]
pub(crate) struct Args {
    /// The folder, which must exist.
    #[arg(value_hint = clap::ValueHint::DirPath)]
    folder: PathBuf,
}

/// The document of `lastbyte doctor`, with a paragraph for each finding.
pub(crate) const DOCTOR: &str = include_str!("../../../docs/doctor.md");

/// The document of each subcommand that has one.
const DOCUMENTS: &[(&str, &str)] = &[
    ("doctor", DOCTOR),
    ("explain", include_str!("../../../docs/explain.md")),
    ("lab", include_str!("../../../docs/lab.md")),
    ("recv", include_str!("../../../docs/recv.md")),
    ("run", include_str!("../../../docs/run.md")),
    ("send", include_str!("../../../docs/send.md")),
    ("watch", include_str!("../../../docs/watch.md")),
];

/// What is the same for all subcommands; the first page has it.
const COMMON: &str = "\
## Exit status

Each subcommand's page has its own. What they share: 0 done, 1 the answer is no (a row not kept, bytes not
delivered, something found), 2 the command line or what it names cannot be used, or standard output cannot be
written. Where the reader of standard output has gone, the command ends by SIGPIPE.

## Environment

| variable | meaning |
|---|---|
| `LASTBYTE_SHIM` | the path of the shim of `lastbyte run` |
| `XDG_CACHE_HOME` | where the shim that travels in the command is written, below `lastbyte` |
| `NO_COLOR` | if set and not empty: no colours |

## Files

| path | what |
|---|---|
| `../lib/lastbyte/liblastbyte_run_shim.so` | the shim, seen from the folder of the command |
| `/var/cache/lastbyte`, `~/.cache/lastbyte` | the shim that travels in the command |
";

/// Writes the pages of `command` and of its subcommands.
pub(crate) fn run(args: &Args, command: clap::Command) -> Status {
    match write_all(&args.folder, command) {
        Ok(()) => DONE,
        Err(error) => {
            let folder = args.folder.display();
            note!("cannot write man pages to {folder}: {error}");
            USAGE
        }
    }
}

fn write_all(folder: &Path, command: clap::Command) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    // Names subcommands as `lastbyte-run`, after which their pages are called.
    command.build();
    write(&Man::new(command.clone()), &command, COMMON, folder)?;
    for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        let document = DOCUMENTS.iter().find(|(of, _)| *of == one.get_name());
        write(
            &Man::new(one.clone()),
            one,
            document.map_or("", |&(_, text)| text),
            folder,
        )?;
    }
    Ok(())
}

fn write(page: &Man, command: &clap::Command, document: &str, folder: &Path) -> io::Result<()> {
    let file = File::create(folder.join(page.get_filename()))?;
    let mut out = BufWriter::new(file);
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    let (introduction, sections) = markdown::to_roff(document);
    introduction.to_writer(&mut out)?;
    if command.get_arguments().next().is_some() {
        page.render_options_section(&mut out)?;
    }
    if command.has_subcommands() {
        page.render_subcommands_section(&mut out)?;
    }
    if !document.contains("## Exit status") {
        exit_status(command).to_writer(&mut out)?;
    }
    sections.to_writer(&mut out)?;
    see_also(command).to_writer(&mut out)?;
    if command.get_version().is_some() {
        page.render_version_section(&mut out)?;
    }
    out.flush()
}

/// Returns what the help says after the options, which begins with it.
fn exit_status(command: &clap::Command) -> Roff {
    let mut roff = Roff::new();
    let text = command.get_after_long_help();
    let Some(text) = text.or(command.get_after_help()) else {
        return roff;
    };
    roff.control("SH", ["EXIT STATUS"]);
    let text = text.to_string();
    let text = text.strip_prefix("Exit status: ").unwrap_or(&text);
    for (number, paragraph) in text.split("\n\n").enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph.replace('\n', " "))]);
    }
    roff
}

fn see_also(command: &clap::Command) -> Roff {
    let mut roff = Roff::new();
    if command.has_subcommands() {
        return roff;
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("lastbyte"),
        roman("(1), "),
        bold("socket"),
        roman("(7), "),
        bold("tcp"),
        roman("(7)"),
    ]);
    roff
}
