//! The tracker on any sequence of destroy notices, rows and answers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: Vec<(u8, Vec<u8>)>| lastbyte_host::fuzzing::tracker(steps));
