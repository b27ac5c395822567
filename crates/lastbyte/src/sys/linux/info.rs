//! `TCP_INFO`, field by field, whatever the kernel's age.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::option::{self, Plain};
use crate::ending::TcpState;

/// Room for `struct tcp_info` (linux/tcp.h) up to `tcpi_bytes_retrans`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Bytes([u8; LENGTH]);

/// What is read of it.
pub(super) const LENGTH: usize = 216;

// SAFETY: an array of bytes has no invalid bit pattern.
unsafe impl Plain for Bytes {}

/// What an ending needs of `struct tcp_info`. All of one call are consistent:
/// the kernel fills them under the socket's lock.
pub(super) struct Info {
    bytes: Bytes,
    len: usize,
}

/// A state of the kernel's, which has some that no ending starts from.
pub(super) enum State {
    Connected(TcpState),
    Listening,
}

impl Info {
    pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let (bytes, len) = option::get::<Bytes>(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
        Ok(Self { bytes, len })
    }

    /// One that came by netlink; what is missing reads as an older kernel's.
    pub(super) fn from_bytes(from: &[u8]) -> Self {
        let mut bytes = Bytes([0; LENGTH]);
        let len = from.len().min(LENGTH);
        bytes.0[..len].copy_from_slice(&from[..len]);
        Self { bytes, len }
    }

    pub(super) fn state(&self) -> State {
        State::Connected(match self.bytes.0[0] {
            1 => TcpState::Established,
            2 => TcpState::SynSent,
            3 | 12 => TcpState::SynReceived,
            4 => TcpState::FinWait1,
            5 => TcpState::FinWait2,
            6 => TcpState::TimeWait,
            8 => TcpState::CloseWait,
            9 => TcpState::LastAck,
            11 => TcpState::Closing,
            10 => return State::Listening,
            _ => TcpState::Closed,
        })
    }

    /// Whether the handshake ever completed: it leaves a round trip time, or
    /// bytes in one of the directions.
    pub(super) fn was_connected(&self) -> bool {
        self.u32(68) != Some(0) || self.u64(120) > Some(0) || self.u64(128) > Some(0)
    }

    /// Nothing was ever transmitted, or a disconnect has cleared the counters
    /// (`tcp_disconnect`, net/ipv4/tcp.c); the others may hold anything then.
    pub(super) fn is_cleared(&self) -> bool {
        self.transmitted().is_none_or(|bytes| bytes == 0)
    }

    /// tcpi_bytes_acked (Linux 4.1).
    pub(super) fn acked(&self) -> Option<u64> {
        self.u64(120)
    }

    /// tcpi_data_segs_in (Linux 4.6).
    pub(super) fn data_segments_in(&self) -> Option<u32> {
        self.u32(152)
    }

    /// The most that is sent at once at a very low pacing rate (`tcp_tso_autosize`,
    /// net/ipv4/tcp_output.c): two segments, or more where the round trip is short.
    #[cfg(feature = "tokio")]
    pub(super) fn burst(&self) -> u64 {
        let (segment, min_rtt) = (self.u32(16), self.u32(148));
        let short = min_rtt.map_or(0, |us| (1 << 16_u64) >> (us >> 9).min(63));
        short.max(2 * u64::from(segment.unwrap_or(0).max(536)))
    }

    /// Connections that a listener has complete and not accepted: tcpi_unacked.
    #[cfg(feature = "tokio")]
    pub(super) fn backlog(&self) -> Option<u32> {
        match self.state() {
            State::Listening => self.u32(24),
            _ => None,
        }
    }

    /// tcpi_notsent_bytes (Linux 4.6).
    pub(super) fn unsent(&self) -> Option<u64> {
        self.u32(144).map(u64::from)
    }

    /// tcpi_bytes_sent − tcpi_bytes_retrans (Linux 4.19).
    pub(super) fn transmitted(&self) -> Option<u64> {
        self.u64(200)?.checked_sub(self.u64(208)?)
    }

    /// All that send() ever accepted.
    pub(super) fn payload(&self) -> Option<u64> {
        self.transmitted()?.checked_add(self.unsent()?)
    }

    /// Whether the counters and the length of the send queue are of one moment:
    /// together they hold the payload, a FIN where one was sent, and at most a SYN
    /// beside it. An acknowledgement in between shows as less.
    pub(super) fn agrees_with(&self, queued: u64) -> bool {
        let (Some(acked), Some(transmitted), Some(unsent)) =
            (self.acked(), self.transmitted(), self.unsent())
        else {
            // An older kernel; reading again does not help.
            return true;
        };
        let beside = (acked + queued).checked_sub(transmitted + unsent);
        match self.state() {
            // One that waits is among the unsent.
            State::Connected(state) if state.fin_queued() && unsent == 0 => {
                matches!(beside, Some(1..=2))
            }
            State::Connected(TcpState::Closed) => matches!(beside, Some(0..=2)),
            // Then the length is from the counters.
            State::Connected(state) if state.in_handshake() => true,
            _ => matches!(beside, Some(0..=1)),
        }
    }

    /// What is not acknowledged of a connection that sent no FIN, by the counters
    /// alone; one byte less where a SYN of ours is among the acknowledged and data
    /// is in flight.
    pub(super) fn queued_before_fin(&self) -> Option<u64> {
        let (transmitted, unsent) = (self.transmitted()?, self.unsent()?);
        Some(transmitted.saturating_sub(self.acked()?) + unsent)
    }

    /// tcpi_delivered counts segments, each once: the handshake's, those with data,
    /// and the FIN's (Linux 4.18). A FIN that was queued while data was unsent rides
    /// in the last data segment and is not told from none (`tcp_send_fin`,
    /// net/ipv4/tcp_output.c). None where the numbers do not add up, which
    /// retransmissions of anything but whole data segments make so.
    pub(super) fn fin_acked(&self) -> Option<bool> {
        let data = self.u32(156)?.checked_sub(self.u32(100)?)?;
        match self.u32(192)?.checked_sub(data)?.checked_sub(1)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// The handshake's segment is the first that counts as delivered.
    pub(super) fn handshake_over(&self) -> Option<bool> {
        self.u32(192).map(|delivered| delivered > 0)
    }

    /// tcpi_retransmits, tcpi_probes: unanswered ones in a row.
    pub(super) fn unanswered(&self) -> bool {
        self.bytes.0[2] > 0 || self.bytes.0[3] > 0
    }

    /// tcpi_last_ack_recv.
    pub(super) fn since_ack(&self) -> Duration {
        Duration::from_millis(self.u32(56).map_or(0, u64::from))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.0[..self.len].get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let bytes = self.bytes.0[..self.len].get(at..at + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }
}
