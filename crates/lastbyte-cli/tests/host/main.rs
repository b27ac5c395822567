//! `watch` and `doctor` against real sockets, in network namespaces of their own.
//!
//! A harness of its own, because what can run depends on who runs it: a test that
//! needs root is reported as ignored for others, never as passed.

mod mix;
mod space;
mod story;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let root = space::is_root();
    let needs_root = |name: &str, test: fn()| {
        let kind = if root { "" } else { "NOT RUN: needs root" };
        Trial::test(name, move || run(test))
            .with_kind(kind)
            .with_ignored_flag(!root)
    };
    let trials = vec![
        needs_root("mix_as_root_everything_is_right", mix::as_root),
        needs_root(
            "mix_as_an_ordinary_user_what_is_shown_is_right",
            mix::as_user,
        ),
        needs_root(
            "doctor_names_process_cause_and_cure",
            story::doctor_names_process_cause_and_cure,
        ),
        needs_root(
            "doctor_finds_nothing_where_nothing_is_wrong",
            story::doctor_finds_nothing_where_nothing_is_wrong,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn run(test: fn()) -> Result<(), Failed> {
    std::panic::catch_unwind(test).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Failed::from(text.unwrap_or_else(|| "panicked".to_owned()))
    })
}
