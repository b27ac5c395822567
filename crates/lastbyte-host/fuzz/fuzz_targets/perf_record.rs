//! Records of a perf ring.
#![no_main]

use lastbyte_host::parse::perf::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    let _ = Record::length(record);
    if let Some(Record::Comm { comm, .. }) = Record::parse(record) {
        assert!(comm.to_string().chars().all(|c| !c.is_control()));
    }
});
