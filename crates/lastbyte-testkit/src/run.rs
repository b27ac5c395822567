//! Runs the tests of a binary.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::lack::{self, Lack, REQUIRE_ALL};

/// A test registered by `#[test]`.
pub struct Test {
    module: &'static str,
    name: &'static str,
    body: fn() -> Result<(), Failed>,
}

inventory::collect!(Test);

impl Test {
    /// Called by the attribute alone.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        module: &'static str,
        name: &'static str,
        body: fn() -> Result<(), Failed>,
    ) -> Self {
        Self { module, name, body }
    }

    /// The name without the binary's, as the compiler's harness has it.
    fn path(&self) -> String {
        match self.module.split_once("::") {
            Some((_, module)) => format!("{module}::{}", self.name),
            None => self.name.to_owned(),
        }
    }
}

/// What a test may return.
pub trait Ended {
    /// Returns whether it passed.
    ///
    /// # Errors
    /// Why it did not.
    fn into_result(self) -> Result<(), Failed>;
}

impl Ended for () {
    fn into_result(self) -> Result<(), Failed> {
        Ok(())
    }
}

impl<E: Debug> Ended for Result<(), E> {
    fn into_result(self) -> Result<(), Failed> {
        self.map_err(|error| format!("{error:?}").into())
    }
}

/// The whole of a test binary's `main`.
#[must_use]
pub fn main() -> ExitCode {
    let mut tests: Vec<&Test> = inventory::iter::<Test>.into_iter().collect();
    tests.sort_by_key(|test| test.path());
    let trials = tests
        .iter()
        .map(|test| trial(test.path(), test.body))
        .collect();
    run(&Arguments::from_args(), trials)
}

/// A trial whose body may call what ends it as ignored.
pub fn trial(
    name: impl Into<String>,
    body: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result.map(|()| Completion::Completed),
        Err(thrown) => match thrown.downcast::<Lack>() {
            Ok(lack) if lack.is_required && std::env::var_os(REQUIRE_ALL).is_some() => {
                Err(lack.why.into())
            }
            Ok(lack) => Ok(Completion::ignored_with(lack.why)),
            Err(panic) => Err(message(&*panic).into()),
        },
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the test panicked").to_owned()
}

/// Runs the trials and names the programs that some of them lacked.
#[must_use]
pub fn run(arguments: &Arguments, trials: Vec<Trial>) -> ExitCode {
    let conclusion = libtest_mimic::run(arguments, trials);
    for line in lack::closing_lines() {
        println!("{line}");
    }
    conclusion.exit_code()
}
