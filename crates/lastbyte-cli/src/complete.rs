//! Arguments whose words shells complete.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

/// A parser that also knows the words to complete. Other words are its own to refuse,
/// so that `explain` can take a number and name what is like a word.
#[derive(Clone)]
pub(crate) struct Completed<T> {
    /// Parses a word.
    pub(crate) parse: fn(&str) -> Result<T, String>,
    /// The words.
    pub(crate) words: fn() -> Vec<&'static str>,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Completed<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, Error> {
        self.parse.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.words)().into_iter().map(PossibleValue::new)))
    }
}
