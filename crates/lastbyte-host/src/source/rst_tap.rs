//! The RSTs that leave this network namespace in answer to a segment with an ACK, seen
//! on their way out. Needs `CAP_NET_RAW`.
//!
//! An RST that answers such a segment carries no ACK itself; one that answers a SYN, or
//! that is sent of our own accord, does (RFC 9293 section 3.5.2). The kernel's tracepoint
//! does not tell the two apart.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use lastbyte_tcp::bytes;

use super::check;
use crate::tuple::{Endpoint, Tuple};

/// Header bytes that are kept of each: IPv6's or the longest of IPv4, and the ports.
const KEPT: u32 = 80;
const WANTED_BUFFER: libc::c_int = 8 << 20;
const RST: u32 = 0x04;
const ACK: u32 = 0x10;

/// The tap.
#[derive(Debug)]
pub(crate) struct RstTap {
    fd: OwnedFd,
    missed: bool,
}

impl RstTap {
    /// Opens it, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_NET_RAW`; `EAFNOSUPPORT` where the kernel has no packet
    /// sockets.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Without a protocol it takes no packets yet.
        let fd = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
        set(&fd, libc::SO_RCVBUFFORCE, &WANTED_BUFFER)
            .or_else(|_| set(&fd, libc::SO_RCVBUF, &WANTED_BUFFER))?;
        let mut program = filter();
        let program = libc::sock_fprog {
            len: program.len() as libc::c_ushort,
            filter: program.as_mut_ptr(),
        };
        set(&fd, libc::SO_ATTACH_FILTER, &program)?;
        // SAFETY: all fields of the structure are numbers, for which zeros are valid.
        let mut every: libc::sockaddr_ll = unsafe { zeroed() };
        every.sll_family = libc::AF_PACKET as libc::c_ushort;
        every.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: the address is valid for the length that is given.
        check(unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const every).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        })?;
        Ok(Self { fd, missed: false })
    }

    /// The ends of those that have come, this host's as local.
    pub(crate) fn read(&mut self) -> Vec<Tuple> {
        let mut tuples = Vec::new();
        let mut packet = [0u8; KEPT as usize];
        while let Ok((length, _)) = recv(&self.fd, &mut packet, RecvFlags::empty()) {
            tuples.extend(ends(&packet[..length]));
        }
        self.missed |= self.dropped();
        tuples
    }

    /// Whether some were dropped since it was opened, because its buffer was full.
    #[must_use]
    pub(crate) fn has_missed(&self) -> bool {
        self.missed
    }

    /// Whether some were dropped since the last time; where it cannot be asked, it is
    /// taken for so.
    fn dropped(&self) -> bool {
        // SAFETY: all fields of the structure are numbers, for which zeros are valid.
        let mut statistics: libc::tpacket_stats = unsafe { zeroed() };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: both are valid to be written to, for the length that is given.
        let asked = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        asked != 0 || statistics.tp_drops > 0
    }
}

fn set<T>(fd: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is valid for its own size; the kernel checks the option.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// Outgoing, TCP, not a later fragment, RST without ACK (classic BPF, `bpf(2)` and
/// `linux/filter.h`). Jumps are relative; the last two instructions take and drop.
fn filter() -> [libc::sock_filter; 19] {
    use libc::{
        BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_JSET,
        BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET,
    };
    const PROTOCOL: u32 = 0xffff_f000; // SKF_AD_OFF + SKF_AD_PROTOCOL
    const PACKET_TYPE: u32 = 0xffff_f004; // SKF_AD_OFF + SKF_AD_PKTTYPE
    let load = |size, from| op(BPF_LD | size | BPF_ABS, 0, 0, from);
    let equal = |to, yes, no| op(BPF_JMP | BPF_JEQ | BPF_K, yes, no, to);
    let outgoing = u32::from(libc::PACKET_OUTGOING);
    let tcp = libc::IPPROTO_TCP as u32;
    [
        load(BPF_B, PACKET_TYPE),
        equal(outgoing, 0, 16),
        load(BPF_H, PROTOCOL),
        equal(libc::ETH_P_IP as u32, 0, 7),
        load(BPF_B, 9),
        equal(tcp, 0, 12),
        load(BPF_H, 6),
        op(BPF_JMP | BPF_JSET | BPF_K, 10, 0, 0x1fff),
        op(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0),
        op(BPF_LD | BPF_B | BPF_IND, 0, 0, 13),
        op(BPF_JMP | BPF_JA, 0, 0, 4),
        equal(libc::ETH_P_IPV6 as u32, 0, 6),
        load(BPF_B, 6),
        equal(tcp, 0, 4),
        load(BPF_B, 40 + 13),
        op(BPF_ALU | BPF_AND | BPF_K, 0, 0, RST | ACK),
        equal(RST, 0, 1),
        op(BPF_RET | BPF_K, 0, 0, KEPT),
        op(BPF_RET | BPF_K, 0, 0, 0),
    ]
}

fn op(code: u32, yes: u8, no: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: yes,
        jf: no,
        k: value,
    }
}

/// The ends of a packet that begins with its IP header.
fn ends(packet: &[u8]) -> Option<Tuple> {
    let (local, remote, header): (IpAddr, IpAddr, usize) = match bytes::u8(packet, 0)? >> 4 {
        4 => (
            bytes::array::<4>(packet, 12)?.into(),
            bytes::array::<4>(packet, 16)?.into(),
            usize::from(bytes::u8(packet, 0)? & 0x0f) * 4,
        ),
        6 => (
            Ipv6Addr::from(bytes::array::<16>(packet, 8)?).into(),
            Ipv6Addr::from(bytes::array::<16>(packet, 24)?).into(),
            40,
        ),
        _ => return None,
    };
    Some(Tuple {
        local: Endpoint::new(local, bytes::be16(packet, header)?),
        remote: Endpoint::new(remote, bytes::be16(packet, header.checked_add(2)?)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_behind_options_and_a_cut_packet_has_none() {
        let mut packet = [0u8; 64];
        packet[0] = 0x46;
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet[16..20].copy_from_slice(&[10, 0, 0, 2]);
        packet[24..28].copy_from_slice(&[0, 80, 0x9c, 0x40]);
        let tuple = ends(&packet).expect("it is whole");
        assert_eq!(tuple.local.to_string(), "10.0.0.1:80");
        assert_eq!(tuple.remote.to_string(), "10.0.0.2:40000");
        assert_eq!(ends(&packet[..25]), None);
        assert_eq!(ends(&[]), None);
    }
}
