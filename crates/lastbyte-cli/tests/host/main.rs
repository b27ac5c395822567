//! `watch` and `doctor` against real sockets, in network namespaces of their own.
//!
//! A harness of its own, because what can run depends on who runs it: a test that
//! needs root is reported as ignored for others, never as passed.

mod flood;
mod ills;
mod live;
mod metrics;
mod mix;
mod space;
mod story;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    if flood::be_the_load() {
        return;
    }
    let arguments = Arguments::from_args();
    let root = space::is_root();
    let needs_root = |name: &str, test: fn()| {
        let kind = if root { "" } else { "NOT RUN: needs root" };
        Trial::test(name, move || run(test))
            .with_kind(kind)
            .with_ignored_flag(!root)
    };
    // A minute and more: asked for with LASTBYTE_LONG_TESTS=1.
    let long = |name: &str, test: fn()| {
        let asked = root && std::env::var_os("LASTBYTE_LONG_TESTS").is_some();
        let kind = if asked {
            ""
        } else {
            "NOT RUN: needs root and LASTBYTE_LONG_TESTS=1"
        };
        Trial::test(name, move || run(test))
            .with_kind(kind)
            .with_ignored_flag(!asked)
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
        needs_root("doctor_finds_each_ill", ills::doctor_finds_each_of_them),
        needs_root("flood_as_root_every_ending_once", flood::as_root),
        needs_root(
            "flood_as_an_ordinary_user_every_ending_once",
            flood::as_user,
        ),
        needs_root(
            "live_view_is_usable_at_80x24_over_10000_endings_a_second",
            live::view,
        ),
        needs_root(
            "live_view_answers_keys_beside_two_busy_loops",
            live::view_beside_busy_loops,
        ),
        needs_root(
            "metrics_are_served_from_outside_a_namespace",
            metrics::served,
        ),
        long("flood_of_a_million_memory_stays_bounded", flood::memory),
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
