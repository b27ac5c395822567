//! Datagrams from NETLINK_SOCK_DIAG.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| lastbyte_host::fuzzing::netlink(datagram));
