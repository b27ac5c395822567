//! `/proc/net/netstat`, `snmp` and `sockstat`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| lastbyte_host::fuzzing::procnet(text));
