//! Records of a perf ring.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| lastbyte_host::fuzzing::perf_record(record));
