//! `watch` and `doctor` against real sockets, in network namespaces of their own.
//!
//! A harness of its own, because what can run depends on who runs it: a test that
//! needs root is reported as ignored for others, never as passed.

mod blame;
mod flood;
mod gone;
mod healthy;
mod ills;
mod instances;
mod live;
mod metrics;
mod mix;
mod namespaces;
mod scenes;
mod space;
mod story;

use std::process::ExitCode;

use lastbyte_testkit::{need_root, trial};
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if flood::be_the_load() {
        return ExitCode::SUCCESS;
    }
    let needs_root = |name: &str, test: fn()| {
        trial(name, move || {
            need_root();
            test();
            Ok(())
        })
    };
    let mut trials = vec![
        needs_root("mix_as_root_everything_is_right", mix::as_root),
        needs_root(
            "mix_as_an_ordinary_user_what_is_shown_is_right",
            mix::as_user,
        ),
        needs_root(
            "connections_older_than_the_watch_are_inferred_and_right",
            scenes::older_than_the_watch,
        ),
        needs_root(
            "in_a_pid_namespace_of_its_own_all_is_observed",
            scenes::in_a_pid_namespace_of_its_own,
        ),
        needs_root("of_crossing_fins_none_came_first", scenes::crossing_fins),
        needs_root(
            "a_connection_destroyed_from_outside",
            scenes::destroyed_from_outside,
        ),
        needs_root(
            "a_connection_disconnected_after_its_end",
            scenes::disconnected_after_the_end,
        ),
        needs_root("subflows_of_mptcp_are_told_as_such", scenes::multipath),
        needs_root(
            "two_network_namespaces_with_the_same_ends",
            namespaces::the_same_ends_in_two,
        ),
        needs_root(
            "all_network_namespaces_and_those_to_come",
            namespaces::all_and_those_to_come,
        ),
        needs_root(
            "sources_are_listed_with_what_is_missing",
            namespaces::sources,
        ),
        needs_root(
            "trace_instances_are_gone_after_any_signal",
            instances::are_gone_after_any_signal,
        ),
        needs_root(
            "doctor_names_process_cause_and_cure",
            story::doctor_names_process_cause_and_cure,
        ),
        needs_root(
            "doctor_finds_nothing_where_nothing_is_wrong",
            story::doctor_finds_nothing_where_nothing_is_wrong,
        ),
        needs_root(
            "doctor_without_root_does_not_say_that_nothing_is_wrong",
            story::doctor_without_root_does_not_say_that_nothing_is_wrong,
        ),
        needs_root("doctor_finds_each_ill", ills::doctor_finds_each_of_them),
        needs_root(
            "doctor_blames_the_right_end_once",
            blame::the_right_end_once,
        ),
        needs_root(
            "doctor_blames_nobody_who_is_innocent",
            blame::nobody_who_is_innocent,
        ),
        needs_root(
            "doctor_finds_no_problem_on_a_busy_host",
            healthy::a_busy_host_has_no_problem,
        ),
        needs_root(
            "doctor_blames_each_end_where_the_other_is_elsewhere",
            blame::each_end_where_the_other_is_elsewhere,
        ),
        needs_root(
            "watch_goes_on_without_standard_error",
            gone::watch_goes_on_without_standard_error,
        ),
        needs_root(
            "watch_ends_without_standard_output",
            gone::watch_ends_without_standard_output,
        ),
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
        needs_root("live_view_uses_a_wide_screen", live::wide),
        needs_root(
            "live_view_ends_with_its_terminal",
            live::ends_with_its_terminal,
        ),
        needs_root(
            "metrics_are_served_from_outside_a_namespace",
            metrics::served,
        ),
        needs_root(
            "metrics_are_whole_from_the_start_and_of_good_form",
            metrics::are_whole_and_of_good_form,
        ),
        needs_root(
            "metrics_nobody_ends_or_starves_them",
            metrics::nobody_ends_or_starves_them,
        ),
        needs_root(
            "metrics_beyond_loopback_a_warning",
            metrics::beyond_loopback_a_warning,
        ),
    ];
    // A minute and more.
    if std::env::var_os("LASTBYTE_LONG_TESTS").is_some() {
        let name = "flood_of_a_million_memory_stays_bounded";
        trials.push(needs_root(name, flood::memory));
    }
    lastbyte_testkit::run(&Arguments::from_args(), trials)
}
