//! Raw tracepoint records, alone and in pages, by any layout.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u8; 16], &[u8])| lastbyte_host::fuzzing::trace_record(input.0, input.1));
