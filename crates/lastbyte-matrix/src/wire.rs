//! What the packets of one connection say of its ending.
//!
//! A reading of its own, from the captured segments alone: it must not share a fault
//! with the code that it judges.

use lastbyte_lab::harness::{Conn, Packet, Stamp};

/// Which end did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The program whose close is looked at.
    Ours,
    /// The other end.
    Peer,
}

/// The packets of a connection, oldest first.
#[derive(Clone, Debug)]
pub struct Wire {
    conn: Conn,
    packets: Vec<Packet>,
}

impl Wire {
    /// The packets of `conn`.
    #[must_use]
    pub const fn new(conn: Conn, packets: Vec<Packet>) -> Self {
        Self { conn, packets }
    }

    /// Both ends.
    #[must_use]
    pub const fn conn(&self) -> &Conn {
        &self.conn
    }

    /// The packets.
    #[must_use]
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// Who sent it.
    #[must_use]
    pub fn side(&self, packet: &Packet) -> Side {
        if packet.source == self.conn.ours {
            Side::Ours
        } else {
            Side::Peer
        }
    }

    fn of(&self, side: Side) -> impl Iterator<Item = &Packet> {
        self.packets
            .iter()
            .filter(move |packet| self.side(packet) == side)
    }

    /// The sequence number of the first payload byte of `side`.
    fn base(&self, side: Side) -> Option<u32> {
        self.of(side)
            .find(|p| p.flags.syn)
            .map(|p| p.seq.wrapping_add(1))
    }

    /// Where a packet's payload ends, counted from the first payload byte.
    fn end(base: u32, packet: &Packet) -> u64 {
        let first = packet.seq.wrapping_add(u32::from(packet.flags.syn));
        u64::from(first.wrapping_add(packet.len).wrapping_sub(base))
    }

    /// Payload bytes of `side` up to the highest one that was transmitted.
    #[must_use]
    pub fn sent(&self, side: Side) -> Option<u64> {
        let base = self.base(side)?;
        let data = self.of(side).filter(|p| p.len > 0 && !p.flags.rst);
        Some(data.map(|p| Self::end(base, p)).max().unwrap_or(0))
    }

    /// The number that acknowledges our FIN, counted from the first payload byte.
    fn fin_number(&self) -> Option<u64> {
        let base = self.base(Side::Ours)?;
        let fin = self.of(Side::Ours).find(|p| p.flags.fin)?;
        Some(Self::end(base, fin) + 1)
    }

    /// The peer's acknowledgements until the first RST of either side, counted from
    /// our first payload byte.
    fn acks(&self) -> impl Iterator<Item = (Stamp, u64)> {
        let base = self.base(Side::Ours);
        let living = self.packets.iter().take_while(|p| !p.flags.rst);
        living
            .filter(|p| self.side(p) == Side::Peer && p.flags.ack)
            .filter_map(move |p| {
                let number = p.ack.wrapping_sub(base?);
                // One that acknowledges nothing of ours yet lies before the base.
                Some((
                    p.at,
                    if number > i32::MAX as u32 {
                        0
                    } else {
                        u64::from(number)
                    },
                ))
            })
    }

    /// Payload bytes of ours that the peer's TCP acknowledged.
    #[must_use]
    pub fn acked(&self) -> Option<u64> {
        self.acked_by(None)
    }

    /// The same, of what had been acknowledged at a moment.
    #[must_use]
    pub fn acked_by(&self, moment: Option<Stamp>) -> Option<u64> {
        self.base(Side::Ours)?;
        let until = self
            .acks()
            .filter(|(at, _)| moment.is_none_or(|moment| *at <= moment));
        let highest = until.map(|(_, number)| number).max().unwrap_or(0);
        Some(match self.fin_number() {
            Some(fin) if highest >= fin => fin - 1,
            _ => highest,
        })
    }

    /// When our FIN was acknowledged.
    #[must_use]
    pub fn fin_acked(&self) -> Option<Stamp> {
        let number = self.fin_number()?;
        self.acks()
            .find(|(_, ack)| *ack >= number)
            .map(|(at, _)| at)
    }

    /// When `side` first sent a FIN.
    #[must_use]
    pub fn fin(&self, side: Side) -> Option<Stamp> {
        self.of(side).find(|p| p.flags.fin).map(|p| p.at)
    }

    /// Whose RST ended the connection, and when. Those that follow are answers of a
    /// stack to segments of a connection that is gone.
    #[must_use]
    pub fn rst(&self) -> Option<(Side, Stamp)> {
        let first = self.packets.iter().find(|p| p.flags.rst)?;
        Some((self.side(first), first.at))
    }

    /// When our socket sent an RST: the first one of the connection, if it is ours.
    #[must_use]
    pub fn our_rst(&self) -> Option<Stamp> {
        self.rst()
            .filter(|(side, _)| *side == Side::Ours)
            .map(|(_, at)| at)
    }

    /// When `side` first sent a FIN or an RST.
    #[must_use]
    pub fn first_of(&self, side: Side) -> Option<Stamp> {
        let mut packets = self.of(side);
        packets.find(|p| p.flags.fin || p.flags.rst).map(|p| p.at)
    }

    /// Whether our end said goodbye (FIN or RST) before a moment.
    #[must_use]
    pub fn ended_before(&self, moment: Stamp) -> bool {
        let mut ours = self.of(Side::Ours);
        ours.any(|p| (p.flags.fin || p.flags.rst) && p.at < moment)
    }

    /// The ending in a few lines, for a cell that is wrong.
    #[must_use]
    pub fn story(&self) -> String {
        let Some(first) = self.packets.first() else {
            return "no packet was seen".into();
        };
        let line = |p: &Packet| {
            let from = if self.side(p) == Side::Ours {
                "ours"
            } else {
                "peer"
            };
            let ms = p.at - first.at;
            format!("{ms:9.2} ms {from} {} len {}", p.flags, p.len)
        };
        let shown = self.packets.len().saturating_sub(14);
        let head = self.packets.iter().take(4.min(shown)).map(line);
        let tail = self.packets.iter().skip(shown).map(line);
        head.chain(tail).collect::<Vec<_>>().join("\n    ")
    }
}
