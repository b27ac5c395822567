//! One connection as it looked on the wire.

use std::fmt;
use std::net::SocketAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::Stamp;

/// Which end a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The side whose close is being looked at.
    Us,
    /// The other side.
    Peer,
}

/// The TCP flags that matter to an ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)] // the names are TCP's
pub struct Flags {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
    pub psh: bool,
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.syn, "SYN"),
            (self.fin, "FIN"),
            (self.rst, "RST"),
            (self.psh, "PSH"),
            (self.ack, "ACK"),
        ];
        let mut first = true;
        for (_, name) in names.iter().filter(|(set, _)| *set) {
            if !first {
                f.write_str("+")?;
            }
            f.write_str(name)?;
            first = false;
        }
        Ok(())
    }
}

/// A TCP segment, with the kernel's time of its arrival.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// When the kernel received it.
    pub at: Stamp,
    /// Its sender's address.
    pub source: SocketAddr,
    /// Its receiver's address.
    pub target: SocketAddr,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; meaningless without the ACK flag.
    pub ack: u32,
    /// Flags.
    pub flags: Flags,
    /// Window, unscaled.
    pub window: u16,
    /// Payload bytes.
    pub len: u32,
}

impl Packet {
    /// Reads a packet that begins at its IP header. `bytes` may be cut short;
    /// `full` is the packet's length before the cut. `None` for anything that is
    /// not TCP, or is malformed.
    #[must_use]
    pub fn parse(at: Stamp, bytes: &[u8], full: usize) -> Option<Self> {
        let sliced = LaxSlicedPacket::from_ip(bytes).ok()?;
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
            return None;
        };
        let (source, target) = match sliced.net? {
            LaxNetSlice::Ipv4(ip) => (
                ip.header().source_addr().into(),
                ip.header().destination_addr().into(),
            ),
            LaxNetSlice::Ipv6(ip) => (
                ip.header().source_addr().into(),
                ip.header().destination_addr().into(),
            ),
            LaxNetSlice::Arp(_) => return None,
        };
        let before_tcp = bytes.len().checked_sub(tcp.slice().len())?;
        let headers = before_tcp + tcp.header_slice().len();
        Some(Self {
            at,
            source: SocketAddr::new(source, tcp.source_port()),
            target: SocketAddr::new(target, tcp.destination_port()),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            flags: Flags {
                syn: tcp.syn(),
                ack: tcp.ack(),
                fin: tcp.fin(),
                rst: tcp.rst(),
                psh: tcp.psh(),
            },
            window: tcp.window_size(),
            len: u32::try_from(full.checked_sub(headers)?).ok()?,
        })
    }
}

/// The packets of one connection in the order in which they arrived.
#[derive(Clone, Debug)]
pub struct Wire {
    ours: SocketAddr,
    packets: Vec<Packet>,
}

impl Wire {
    /// The connection whose near end is `ours`.
    #[must_use]
    pub const fn new(ours: SocketAddr, packets: Vec<Packet>) -> Self {
        Self { ours, packets }
    }

    /// The packets.
    #[must_use]
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// Which end sent `packet`.
    #[must_use]
    pub fn sender(&self, packet: &Packet) -> From {
        if packet.source == self.ours {
            From::Us
        } else {
            From::Peer
        }
    }

    fn from(&self, side: From) -> impl Iterator<Item = &Packet> {
        self.packets.iter().filter(move |p| self.sender(p) == side)
    }

    /// The sequence number of our first payload byte.
    fn base(&self) -> Option<u32> {
        self.from(From::Us)
            .find(|p| p.flags.syn)
            .map(|p| p.seq.wrapping_add(1))
    }

    /// Payload bytes of ours up to the highest one transmitted.
    #[must_use]
    pub fn sent(&self) -> Option<u64> {
        let base = self.base()?;
        let ends = self
            .from(From::Us)
            .filter(|p| p.len > 0)
            .map(|p| u64::from(p.seq.wrapping_add(p.len).wrapping_sub(base)));
        Some(ends.max().unwrap_or(0))
    }

    /// The sequence number after our FIN, counted from the first payload byte.
    fn fin_end(&self) -> Option<u64> {
        let base = self.base()?;
        let fin = self.from(From::Us).find(|p| p.flags.fin && !p.flags.syn)?;
        Some(u64::from(fin.seq.wrapping_add(fin.len).wrapping_sub(base)) + 1)
    }

    /// Each acknowledgement from the peer's TCP, counted from our first payload
    /// byte. An RST's number acknowledges nothing: no TCP takes it for one; what
    /// comes after it finds no connection any more.
    fn acks(&self) -> impl Iterator<Item = (Stamp, u64)> {
        let base = self.base();
        self.packets
            .iter()
            .take_while(|p| !p.flags.rst)
            .filter(|p| self.sender(p) == From::Peer && p.flags.ack && !p.flags.syn)
            .filter_map(move |p| Some((p.at, u64::from(p.ack.wrapping_sub(base?)))))
    }

    /// Payload bytes of ours that the peer's TCP acknowledged; the FIN is not
    /// counted. `None` where our SYN was not captured.
    #[must_use]
    pub fn acked(&self) -> Option<u64> {
        self.base()?;
        let highest = self.acks().map(|(_, n)| n).max().unwrap_or(0);
        match self.fin_end() {
            Some(end) if highest >= end => Some(end - 1),
            _ => Some(highest),
        }
    }

    /// Returns when the peer's first acknowledgement of our FIN arrived.
    #[must_use]
    pub fn fin_acked_at(&self) -> Option<Stamp> {
        let end = self.fin_end()?;
        self.acks().find(|&(_, n)| n >= end).map(|(at, _)| at)
    }

    /// The first RST of `side`.
    #[must_use]
    pub fn rst(&self, side: From) -> Option<Stamp> {
        self.from(side).find(|p| p.flags.rst).map(|p| p.at)
    }

    /// Whose RST ended the connection. One that follows the other side's is a
    /// stack's answer to a stray segment: the ACK of a window probe, overtaken by its
    /// sender's RST from another CPU, finds no socket any more.
    #[must_use]
    pub fn ended_by_rst(&self) -> Option<From> {
        let first = self.packets.iter().find(|p| p.flags.rst)?;
        Some(self.sender(first))
    }

    /// The first FIN of `side`.
    #[must_use]
    pub fn fin(&self, side: From) -> Option<Stamp> {
        self.from(side).find(|p| p.flags.fin).map(|p| p.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    fn ours() -> SocketAddr {
        "127.0.0.1:1000".parse().expect("an address")
    }
    fn peers() -> SocketAddr {
        "127.0.0.1:2000".parse().expect("an address")
    }

    fn packet(at: u32, us: bool, seq: u32, ack: u32, flags: Flags, len: u32) -> Packet {
        let (source, target) = if us {
            (ours(), peers())
        } else {
            (peers(), ours())
        };
        Packet {
            at: Stamp::from_parts(at, 0),
            source,
            target,
            seq,
            ack,
            flags,
            window: 1000,
            len,
        }
    }

    const SYN: Flags = Flags {
        syn: true,
        ack: false,
        fin: false,
        rst: false,
        psh: false,
    };
    const ACK: Flags = Flags {
        ack: true,
        syn: false,
        ..SYN
    };
    const FIN: Flags = Flags { fin: true, ..ACK };
    const RST: Flags = Flags { rst: true, ..ACK };

    #[test]
    fn counts_leave_syn_and_fin_out_across_the_wrap_of_sequence_numbers() {
        let isn = u32::MAX - 10;
        let data = isn.wrapping_add(1);
        let wire = Wire::new(
            ours(),
            vec![
                packet(1, true, isn, 0, SYN, 0),
                packet(2, false, 7, data, Flags { syn: true, ..ACK }, 0),
                packet(3, true, data, 8, ACK, 100),
                packet(4, true, data.wrapping_add(100), 8, FIN, 0),
                packet(5, false, 8, data.wrapping_add(60), ACK, 0),
                packet(6, false, 8, data.wrapping_add(101), ACK, 0),
            ],
        );
        assert_eq!(wire.sent(), Some(100));
        assert_eq!(wire.acked(), Some(100));
        assert_eq!(wire.fin_acked_at(), Some(Stamp::from_parts(6, 0)));
        assert_eq!(wire.rst(From::Us), None);
    }

    #[test]
    fn an_rst_acknowledges_nothing() {
        let wire = Wire::new(
            ours(),
            vec![
                packet(1, true, 0, 0, SYN, 0),
                packet(2, true, 1, 8, ACK, 100),
                packet(3, false, 8, 41, ACK, 0),
                packet(4, false, 8, 101, RST, 0),
            ],
        );
        assert_eq!(wire.acked(), Some(40));
        assert_eq!(wire.rst(From::Peer), Some(Stamp::from_parts(4, 0)));
    }

    #[test]
    fn what_follows_the_rst_that_ended_it_is_of_no_account() {
        let wire = Wire::new(
            ours(),
            vec![
                packet(1, true, 0, 0, SYN, 0),
                packet(2, true, 1, 8, ACK, 100),
                packet(3, false, 8, 101, RST, 0),
                // The ACK that the RST has overtaken, and the answer to it.
                packet(4, false, 8, 101, ACK, 0),
                packet(5, true, 101, 0, RST, 0),
            ],
        );
        assert_eq!(wire.ended_by_rst(), Some(From::Peer));
        assert_eq!(wire.acked(), Some(0));
        let ended = Wire::new(ours(), wire.packets()[..2].to_vec());
        assert_eq!(ended.ended_by_rst(), None);
    }

    #[test]
    fn without_our_syn_nothing_is_claimed() {
        let wire = Wire::new(ours(), vec![packet(3, false, 8, 41, ACK, 0)]);
        assert_eq!(wire.acked(), None);
        assert_eq!(wire.sent(), None);
    }

    #[test]
    fn a_packet_cut_short_keeps_its_full_length() {
        let builder =
            PacketBuilder::ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64).tcp(1000, 2000, 5, 512);
        let payload = [0u8; 1000];
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &payload).expect("a packet");
        let full = bytes.len();
        let parsed =
            Packet::parse(Stamp::from_parts(1, 0), &bytes[..128], full).expect("headers are whole");
        assert_eq!(parsed.len, 1000);
        assert_eq!((parsed.source, parsed.target), (ours(), peers()));
        for cut in 0..40 {
            assert!(Packet::parse(Stamp::from_parts(1, 0), &bytes[..cut], full).is_none());
        }
    }
}
