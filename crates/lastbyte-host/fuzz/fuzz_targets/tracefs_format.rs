//! `format` files of tracefs.
#![no_main]

use lastbyte_host::parse::tracefs::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Format::parse(text);
});
