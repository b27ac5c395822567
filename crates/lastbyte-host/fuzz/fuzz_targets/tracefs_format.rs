//! `format` files of tracefs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| lastbyte_host::fuzzing::tracefs_format(text));
