//! The tracker and the judge on captured bytes and on sequences of events whose verdict
//! is known.

mod captures;
mod dumps;
mod life;
mod missed;
mod older;
mod verdicts;
