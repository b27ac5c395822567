//! How a test that lacks something ends, seen from outside: this binary runs itself.

#[macro_use]
extern crate lastbyte_testkit;

use std::process::{Command, ExitCode};

use lastbyte_testkit::{REQUIRE_ALL, need, need_path, trial};
use libtest_mimic::{Arguments, Failed, Trial};

/// Tells this program to run the samples below instead of the tests.
const SAMPLES: &str = "LASTBYTE_TESTKIT_SAMPLES";

fn main() -> ExitCode {
    if std::env::var_os(SAMPLES).is_some() {
        return lastbyte_testkit::main();
    }
    let tests: [(&str, fn()); 3] = [
        (
            "what_is_not_installed_is_ignored_and_named",
            what_is_not_installed_is_ignored_and_named,
        ),
        ("the_gate_counts_it_as_failed", the_gate_counts_it_as_failed),
        ("a_panic_is_a_failure", a_panic_is_a_failure),
    ];
    let trials: Vec<Trial> = tests
        .into_iter()
        .map(|(name, test)| {
            trial(name, move || {
                test();
                Ok(())
            })
        })
        .collect();
    lastbyte_testkit::run(&Arguments::from_args(), trials)
}

mod samples {
    use super::*;

    #[test]
    fn needs_nothing() {}

    #[test]
    fn needs_a_shell() {
        need("sh", "dash");
    }

    #[test]
    fn needs_a_program() {
        need("lastbyte-no-such-program", "no-such-package");
        panic!("it went on without it");
    }

    #[test]
    fn needs_it_too() -> Result<(), Failed> {
        need("lastbyte-no-such-program", "no-such-package");
        Err("it went on without it".into())
    }

    #[test]
    fn needs_a_file() {
        need_path("/no/such/file", "another-package");
    }

    #[test]
    fn panics() {
        let asked = std::env::var_os(SAMPLES).is_some_and(|asked| asked == "panic");
        assert!(!asked, "as asked");
    }
}

/// Whether the samples' run is a success, and what it printed.
fn samples(which: &str, require_all: bool) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().expect("a test binary"));
    command.env(SAMPLES, which).env_remove(REQUIRE_ALL);
    if require_all {
        command.env(REQUIRE_ALL, "1");
    }
    let output = command.output().expect("it starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), printed)
}

fn what_is_not_installed_is_ignored_and_named() {
    let (success, printed) = samples("plain", false);
    assert!(success, "{printed}");
    assert!(
        printed.contains("3 passed; 0 failed; 3 ignored"),
        "{printed}"
    );
    assert!(printed.contains("samples::needs_a_program"), "{printed}");
    assert!(
        printed.ends_with(
            "not installed: /no/such/file (1 test), Debian's package: another-package\n\
             not installed: lastbyte-no-such-program (2 tests), Debian's package: no-such-package\n"
        ),
        "{printed}"
    );
}

fn the_gate_counts_it_as_failed() {
    let (success, printed) = samples("plain", true);
    assert!(!success, "{printed}");
    assert!(
        printed.contains("3 passed; 3 failed; 0 ignored"),
        "{printed}"
    );
}

fn a_panic_is_a_failure() {
    let (success, printed) = samples("panic", false);
    assert!(!success, "{printed}");
    assert!(
        printed.contains("2 passed; 1 failed; 3 ignored"),
        "{printed}"
    );
    assert!(printed.contains("as asked"), "{printed}");
}
