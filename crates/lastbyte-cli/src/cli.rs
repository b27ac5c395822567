//! The one definition that help texts, man pages and completions come from.

use std::fmt::Write;

use clap::builder::StyledStr;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{completions, recv, send};
#[cfg(target_os = "linux")]
use crate::commands::{doctor, explain, lab, man, run, watch};
use crate::status::Status;

/// Closes TCP connections and reports what became of the last byte.
#[derive(Debug, Parser)]
#[command(name = "lastbyte", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// In the order of [`GROUPS`].
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(target_os = "linux")]
    Lab(lab::Args),
    #[cfg(target_os = "linux")]
    /// Runs a program whose TCP closes then keep the contract.
    Run(run::Args),
    #[cfg(target_os = "linux")]
    /// Shows how every TCP connection of this host ends.
    Watch(watch::Args),
    #[cfg(target_os = "linux")]
    /// Finds what is wrong with how connections end here, and the cure.
    Doctor(doctor::Args),
    #[cfg(target_os = "linux")]
    /// Explains an errno, state, counter, RST reason or message.
    Explain(explain::Args),
    Send(send::Args),
    Recv(recv::Args),
    #[cfg(target_os = "linux")]
    /// Writes the man pages into a folder.
    Man(man::Args),
    /// Prints shell completions.
    Completions(completions::Args),
}

/// What a person wants, and the subcommands for it.
const GROUPS: &[(&str, &[&str])] = &[
    ("Prove the contract on this machine", &["lab"]),
    ("Run a program that nobody will change", &["run"]),
    (
        "Look at the connections of this host",
        &["watch", "doctor", "explain"],
    ),
    ("Move bytes", &["send", "recv"]),
    ("Set up", &["man", "completions"]),
];

impl Cli {
    /// The command line of this process, or what to print instead.
    pub(crate) fn from_arguments() -> Result<Self, clap::Error> {
        let matches = command().try_get_matches()?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
    }
}

impl Command {
    /// Runs the subcommand to its end.
    pub(crate) fn run(self) -> Status {
        match self {
            #[cfg(target_os = "linux")]
            Self::Lab(args) => lab::run(&args),
            #[cfg(target_os = "linux")]
            Self::Run(args) => run::run(args),
            #[cfg(target_os = "linux")]
            Self::Watch(args) => watch::run(&args),
            #[cfg(target_os = "linux")]
            Self::Doctor(args) => doctor::run(&args),
            #[cfg(target_os = "linux")]
            Self::Explain(args) => explain::run(&args),
            Self::Send(args) => send::run(&args),
            Self::Recv(args) => recv::run(&args),
            #[cfg(target_os = "linux")]
            Self::Man(args) => man::run(&args, command()),
            Self::Completions(args) => completions::run(&args, command()),
        }
    }
}

/// The definition, with a help that lists the subcommands by [`GROUPS`].
pub(crate) fn command() -> clap::Command {
    let command = Cli::command();
    let template = template(&command);
    command.help_template(template)
}

/// clap lists subcommands under one heading only, hence a template.
fn template(command: &clap::Command) -> StyledStr {
    let style = command.get_styles();
    let (heading, name) = (style.get_header(), style.get_literal());
    let mut text = StyledStr::new();
    let _ = write!(
        text,
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n"
    );
    for (title, names) in GROUPS {
        if names
            .iter()
            .all(|name| command.find_subcommand(name).is_none())
        {
            continue;
        }
        let _ = writeln!(text, "{heading}{title}:{heading:#}");
        for subcommand in names
            .iter()
            .filter_map(|name| command.find_subcommand(name))
        {
            let about = subcommand.get_about().map(ToString::to_string);
            let _ = writeln!(
                text,
                "  {name}{:<11}{name:#}  {}",
                subcommand.get_name(),
                about.unwrap_or_default()
            );
        }
        text.push_str("\n");
    }
    let _ = write!(
        text,
        "{heading}Options:{heading:#}\n{{options}}\n\n\
         `lastbyte SUBCOMMAND --help` prints the options and the exit status of each."
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_is_in_one_group() {
        let mut grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).collect();
        let command = Cli::command();
        let mut all: Vec<_> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        grouped.sort_unstable();
        all.sort_unstable();
        assert_eq!(grouped.into_iter().copied().collect::<Vec<_>>(), all);
    }

    #[test]
    fn the_definition_is_sound_and_no_line_of_its_help_is_wider_than_a_terminal() {
        command().debug_assert();
        let help = command().render_help().to_string();
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{help}");
    }
}
