//! `struct tcp_info` (`include/uapi/linux/tcp.h`): the fields that an ending is
//! told from.

use super::bytes;

/// What the kernel counted of one connection.
///
/// Older kernels write a shorter structure; a field beyond its end is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpInfo {
    /// `tcpi_state`, numbered as `TCP_ESTABLISHED` = 1.
    pub state: u8,
    /// `tcpi_last_data_sent`: milliseconds since data was last sent.
    pub last_data_sent_ms: u32,
    /// `tcpi_last_ack_recv`: milliseconds since an ACK last arrived.
    pub last_ack_recv_ms: u32,
    /// `tcpi_rtt` in microseconds.
    pub rtt_us: u32,
    /// The counters of bytes, all or none (since Linux 4.19).
    pub counts: Option<Counts>,
    /// `tcpi_snd_wnd` (since Linux 5.4): the window the peer last advertised.
    pub snd_wnd: Option<u32>,
}

/// The counters in bytes. SYN and FIN take one each where the comment says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// `tcpi_bytes_acked`; our SYN (when we connected) and our FIN count.
    pub acked: u64,
    /// `tcpi_bytes_received`; the peer's FIN counts.
    pub received: u64,
    /// `tcpi_notsent_bytes`: queued, never transmitted; our FIN counts.
    pub unsent: u32,
    /// `tcpi_min_rtt` in microseconds; `u32::MAX` until the first sample, which
    /// the handshake gives.
    pub min_rtt_us: u32,
    /// `tcpi_data_segs_in`: segments with payload that arrived.
    pub data_segments_in: u32,
    /// `tcpi_bytes_sent` − `tcpi_bytes_retrans`: payload transmitted, each byte
    /// once.
    pub sent: u64,
}

impl Counts {
    /// Whether the connection was ever established: the handshake leaves a
    /// round-trip sample even where everything else was cleared.
    #[must_use]
    pub(crate) const fn was_established(&self) -> bool {
        self.min_rtt_us != u32::MAX || self.acked > 0 || self.received > 0 || self.sent > 0
    }
}

impl TcpInfo {
    /// Reads the structure; `None` when even its oldest part is cut off.
    #[must_use]
    pub(crate) fn parse(info: &[u8]) -> Option<Self> {
        Some(Self {
            state: bytes::u8(info, 0)?,
            last_data_sent_ms: bytes::u32(info, 44)?,
            last_ack_recv_ms: bytes::u32(info, 56)?,
            rtt_us: bytes::u32(info, 68)?,
            counts: Counts::parse(info),
            snd_wnd: bytes::u32(info, 228),
        })
    }
}

impl Counts {
    fn parse(info: &[u8]) -> Option<Self> {
        let retransmitted = bytes::u64(info, 208)?;
        Some(Self {
            acked: bytes::u64(info, 120)?,
            received: bytes::u64(info, 128)?,
            unsent: bytes::u32(info, 144)?,
            min_rtt_us: bytes::u32(info, 148)?,
            data_segments_in: bytes::u32(info, 152)?,
            sent: bytes::u64(info, 200)?.checked_sub(retransmitted)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_sit_where_the_header_says() {
        let mut info = [0u8; 232];
        info[0] = 7;
        info[120..128].copy_from_slice(&102u64.to_ne_bytes());
        info[200..208].copy_from_slice(&150u64.to_ne_bytes());
        info[208..216].copy_from_slice(&50u64.to_ne_bytes());
        info[228..232].copy_from_slice(&65536u32.to_ne_bytes());
        let parsed = TcpInfo::parse(&info).expect("long enough");
        let counts = parsed.counts.expect("long enough for the counters");
        assert_eq!((parsed.state, counts.acked, counts.sent), (7, 102, 100));
        assert_eq!(parsed.snd_wnd, Some(65536));
    }

    #[test]
    fn a_short_structure_has_no_counters() {
        let parsed = TcpInfo::parse(&[0; 104]).expect("the oldest part is there");
        assert_eq!((parsed.counts, parsed.snd_wnd), (None, None));
        assert_eq!(TcpInfo::parse(&[0; 60]), None);
    }
}
