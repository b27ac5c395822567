//! `lastbyte completions`: for bash, zsh, fish, elvish and PowerShell.

use std::io::Write;

use clap_complete::Shell;

use crate::output::{ended, output};
use crate::status::{DONE, Status};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 printed, 2 standard output cannot be written.")]
pub(crate) struct Args {
    /// The shell to print completions for.
    shell: Shell,
}

/// Prints the completions of `command`.
pub(crate) fn run(args: &Args, mut command: clap::Command) -> Status {
    // Into memory first: the generator panics where a write fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "lastbyte", &mut script);
    script.extend(addition(args.shell, &command).into_bytes());
    let mut out = output();
    ended(out.write_all(&script).and_then(|()| out.flush()), DONE)
}

/// Returns what clap's generator leaves out for this shell: the words of `explain` in fish, and
/// the program of `run`, with the program's own completions, in bash and fish.
fn addition(shell: Shell, command: &clap::Command) -> String {
    let options = options_with_values(command, "run");
    match shell {
        Shell::Bash => BASH.replace("OPTIONS", &options.join("|")),
        Shell::Fish => FISH
            .replace("WORDS", &words().join(" "))
            .replace("OPTIONS", &options.join(" ")),
        _ => String::new(),
    }
}

/// What `explain` can be asked, where it is.
#[cfg(not(target_os = "linux"))]
fn words() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(target_os = "linux")]
fn words() -> Vec<&'static str> {
    lastbyte_host::explain::all()
        .map(|entry| entry.name)
        .collect()
}

/// The options of a subcommand after which a value stands.
fn options_with_values(command: &clap::Command, subcommand: &str) -> Vec<String> {
    let Some(found) = command.find_subcommand(subcommand) else {
        return Vec::new();
    };
    let options = found
        .get_arguments()
        .filter(|one| one.get_action().takes_values());
    options
        .filter_map(|one| one.get_long().map(|name| format!("--{name}")))
        .collect()
}

const BASH: &str = r#"
# The program that `lastbyte run` is to run, and what that program completes.
_lastbyte_or_program() {
    local at=2
    if [[ ${COMP_WORDS[1]} == run ]]; then
        while ((at < COMP_CWORD)); do
            case ${COMP_WORDS[at]} in
            OPTIONS) ((at += 2)) ;;
            --)
                ((at += 1))
                break
                ;;
            -*) ((at += 1)) ;;
            *) break ;;
            esac
        done
        if ((at <= COMP_CWORD)) && [[ ${COMP_WORDS[at]} != -* || ${COMP_WORDS[at - 1]} == -- ]]; then
            if declare -F _comp_command_offset >/dev/null; then
                _comp_command_offset $at
            elif declare -F _command_offset >/dev/null; then
                _command_offset $at
            elif ((at == COMP_CWORD)); then
                mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
            else
                COMPREPLY=()
            fi
            return
        fi
    fi
    _lastbyte "$@"
}
complete -F _lastbyte_or_program -o bashdefault -o default lastbyte
"#;

const FISH: &str = r#"
complete -c lastbyte -n "__fish_lastbyte_using_subcommand explain" -f -a "WORDS"
complete -c lastbyte -n "__fish_lastbyte_using_subcommand run" -x -a "(__fish_complete_subcommand --fcs-skip=2 -- OPTIONS)"
"#;
