//! Datagrams from NETLINK_SOCK_DIAG.
#![no_main]

use lastbyte_host::parse::inet_diag::Socket;
use lastbyte_host::parse::netlink;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    for message in netlink::messages(datagram) {
        let _ = message.error();
        let _ = Socket::parse(message.payload);
    }
});
