//! `/proc/net/netstat`, `snmp` and `sockstat`.
#![no_main]

use lastbyte_host::parse::procnet::{Counters, inline, pairs};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut counters = Counters::new();
    pairs(text, &mut counters);
    inline(text, &mut counters);
});
