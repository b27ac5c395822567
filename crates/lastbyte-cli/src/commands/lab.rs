//! `lastbyte lab`: the contract's rows, run here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use lastbyte_lab::harness::{self, Place};
use lastbyte_lab::{Lab, Lastbyte, Plain, ROWS, Results, Row, Subject, show};

use crate::complete::Completed;
use crate::output::{note, say};
use crate::status::{DONE, NOT_SO, Status, USAGE};
use crate::terminal;

/// Runs each row of the contract: close(2) beside lastbyte.
///
/// The rows run in a private user and network namespace, which needs no privilege where the
/// system allows it. Elsewhere they run on the loopback interface of this host, and the last
/// lines name the reason. Nothing is sent anywhere else, and nothing is left behind.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 lastbyte kept every row that ran, 1 it did not, 2 usage, or standard
output cannot be written.
A row that could not run says why, and counts as not run, never as kept.")]
pub(crate) struct Args {
    /// Only this row, such as D2, with its packets in order and their times;
    /// several with commas.
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = ROW,
          hide_possible_values = true)]
    row: Vec<&'static Row>,

    /// Print one JSON object.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,

    /// Print a Markdown table.
    #[arg(long)]
    markdown: bool,

    /// Print the document of the contract: every row, with what was measured here.
    #[arg(long, conflicts_with_all = ["row", "json", "markdown"])]
    contract: bool,

    /// Also draw the row's packets, close(2)'s beside lastbyte's, as an SVG in this file.
    #[arg(long, value_name = "FILE", requires = "row", value_hint = clap::ValueHint::FilePath)]
    ladder: Option<PathBuf>,

    /// Stay on this host's loopback interface, without a namespace.
    #[arg(long)]
    loopback: bool,
}

const ROW: Completed<&'static Row> = Completed {
    parse: row,
    words: || ROWS.iter().map(|row| row.id).collect(),
};

fn row(id: &str) -> Result<&'static Row, String> {
    lastbyte_lab::row(id).ok_or_else(|| {
        let ids: Vec<_> = ROWS.iter().map(|row| row.id).collect();
        format!("there is no such row; the rows are {}", ids.join(" "))
    })
}

pub(crate) fn run(args: &Args) -> Status {
    // First of all, while this process has no threads.
    let place = if args.loopback {
        Place::Loopback {
            why: "as asked".to_owned(),
        }
    } else {
        harness::enter()
    };
    let lab = Lab::new(place);
    let rows: Vec<&'static Row> = if args.row.is_empty() {
        ROWS.iter().collect()
    } else {
        args.row.clone()
    };
    let subjects: [Arc<dyn Subject>; 2] = [Arc::new(Plain), Arc::new(Lastbyte)];

    let bar = progress(rows.len() * subjects.len());
    let results = lab.run(&rows, &subjects, &|row| {
        bar.set_message(row.id);
        bar.inc(1);
    });
    bar.finish_and_clear();

    let kept = results.rows.iter().all(|result| {
        let lastbyte = &result.outcomes[1];
        lastbyte.kept() || lastbyte.not_run().is_some()
    });
    if let Some(file) = &args.ladder
        && let Err(why) = draw(&results, file)
    {
        note!("cannot draw {}: {why}", file.display());
        return USAGE;
    }
    say(&shown(args, &results), if kept { DONE } else { NOT_SO })
}

/// Writes the picture of the one row that was run.
fn draw(results: &Results, file: &Path) -> Result<(), String> {
    let [result] = results.rows.as_slice() else {
        return Err("a picture has one row".to_owned());
    };
    let picture = show::ladder(result, &NAMES);
    let picture = picture.ok_or("no packets were captured for this row")?;
    std::fs::write(file, picture).map_err(|error| error.to_string())
}

/// The subjects, in the order in which they are run.
const NAMES: [&str; 2] = ["close(2)", "lastbyte"];

/// Hidden where standard error is no terminal.
fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg:3} {elapsed}")
        .expect("the template is well-formed");
    let bar = ProgressBar::new(steps as u64).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn shown(args: &Args, results: &Results) -> String {
    if args.json {
        return show::json(results).to_string();
    }
    if args.markdown {
        return show::markdown(results);
    }
    if args.contract {
        return show::document(results).trim_end().to_owned();
    }
    let mut parts = if args.row.is_empty() {
        let (width, colours) = (terminal::width(), terminal::colours());
        vec![show::table(results, width, colours)]
    } else {
        let traces = results.rows.iter();
        traces.map(|result| show::trace(result, &NAMES)).collect()
    };
    parts.push(show::summary(results));
    parts.join("\n")
}
