//! `struct tcp_info` (`include/uapi/linux/tcp.h`), whatever the kernel's age.
//!
//! The structure has only ever grown at its end. Each kernel fills the part that it
//! knows, and says how long that is; what is beyond is `None` here. All values of one
//! structure are of one moment: the kernel fills it under the socket's lock
//! (`tcp_get_info`, `net/ipv4/tcp.c`), except for the state, which an arriving FIN can
//! change a moment before the counters.

use core::fmt;
use core::time::Duration;

use crate::bytes;
use crate::payload::SendCounts;
use crate::state::State;

/// How many bytes of the structure are read: up to `tcpi_snd_wnd`.
pub const LENGTH: usize = 232;

/// The length of the oldest structure, which every kernel fills: up to
/// `tcpi_total_retrans` (Linux 2.6.12).
pub const OLDEST: usize = 104;

/// What the kernel counted of one TCP socket.
///
/// It is a copy of the bytes that the kernel wrote, from which each method reads one
/// field. Counts are of the connection's whole life unless a method says otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct TcpInfo {
    bytes: [u8; LENGTH],
    /// How many of the bytes the kernel filled, at least [`OLDEST`].
    len: usize,
    state: Option<State>,
}

/// Where the kernel's fields are, and since when.
impl TcpInfo {
    /// Takes the bytes of a structure, as netlink or a system call gave them. A shorter
    /// structure is an older kernel's; what a newer one has beyond [`LENGTH`] is ignored.
    /// Returns `None` where it is shorter than [`OLDEST`].
    #[inline]
    #[must_use]
    pub fn from_bytes(from: &[u8]) -> Option<Self> {
        if from.len() < OLDEST {
            return None;
        }
        let mut info = Self::EMPTY;
        info.len = from.len().min(LENGTH);
        info.bytes[..info.len].copy_from_slice(&from[..info.len]);
        info.state = State::from_raw(info.bytes[0].into());
        Some(info)
    }

    /// Room for the kernel to write to.
    const EMPTY: Self = Self {
        bytes: [0; LENGTH],
        len: 0,
        state: None,
    };

    /// Returns the state, `tcpi_state`. Returns `None` where the number is no state.
    #[inline]
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.state
    }

    /// Returns the retransmissions of the oldest unacknowledged segment that have not
    /// been answered, `tcpi_retransmits`: 0 as soon as an ACK arrives.
    #[inline]
    #[must_use]
    pub fn unanswered_retransmits(&self) -> u8 {
        self.bytes[2]
    }

    /// Returns the keepalive or zero-window probes in a row that have not been answered,
    /// `tcpi_probes`.
    #[inline]
    #[must_use]
    pub fn unanswered_probes(&self) -> u8 {
        self.bytes[3]
    }

    /// Returns the largest segment that is sent, in payload bytes, `tcpi_snd_mss`.
    #[inline]
    #[must_use]
    pub fn send_mss(&self) -> u32 {
        self.oldest(16)
    }

    /// Returns the segments in flight, `tcpi_unacked`; of a listening socket, the
    /// connections that are complete and not accepted.
    #[inline]
    #[must_use]
    pub fn unacked(&self) -> u32 {
        self.oldest(24)
    }

    /// Returns the milliseconds since payload was last sent, or since the connection was
    /// established if none was, `tcpi_last_data_sent`. The clock has the resolution of a
    /// jiffy, 1 to 10 ms.
    #[inline]
    #[must_use]
    pub fn last_data_sent_ms(&self) -> u32 {
        self.oldest(44)
    }

    /// Returns the milliseconds since an ACK last arrived, `tcpi_last_ack_recv`, with the
    /// resolution of a jiffy.
    #[inline]
    #[must_use]
    pub fn last_ack_received_ms(&self) -> u32 {
        self.oldest(56)
    }

    /// Returns the smoothed round-trip time in microseconds, `tcpi_rtt`: 0 before the
    /// handshake is over and after a disconnect.
    #[inline]
    #[must_use]
    pub fn rtt_us(&self) -> u32 {
        self.oldest(68)
    }

    /// Returns the segments that were sent again, `tcpi_total_retrans`.
    #[inline]
    #[must_use]
    pub fn retransmitted_segments(&self) -> u32 {
        self.oldest(100)
    }

    /// Returns the sequence numbers that the peer acknowledged, `tcpi_bytes_acked` (Linux
    /// 4.1): payload bytes, one for our SYN if we connected, and one for our FIN.
    #[inline]
    #[must_use]
    pub fn acked(&self) -> Option<u64> {
        self.u64(120)
    }

    /// Returns the sequence numbers that arrived in order, `tcpi_bytes_received` (Linux
    /// 4.1): payload bytes, and one for the peer's FIN. Its SYN does not count.
    #[inline]
    #[must_use]
    pub fn received(&self) -> Option<u64> {
        self.u64(128)
    }

    /// Returns what is queued and was never transmitted, `tcpi_notsent_bytes` (Linux
    /// 4.6): payload bytes, and one for a FIN that waits behind them.
    #[inline]
    #[must_use]
    pub fn unsent(&self) -> Option<u32> {
        self.u32(144)
    }

    /// Returns the smallest round-trip time that was measured, in microseconds,
    /// `tcpi_min_rtt` (Linux 4.6): `u32::MAX` before the first, which the handshake
    /// gives. A disconnect leaves it.
    #[inline]
    #[must_use]
    pub fn min_rtt_us(&self) -> Option<u32> {
        self.u32(148)
    }

    /// Returns the segments with payload that arrived, `tcpi_data_segs_in` (Linux 4.6).
    #[inline]
    #[must_use]
    pub fn data_segments_in(&self) -> Option<u32> {
        self.u32(152)
    }

    /// Returns the segments with payload that were sent, repetitions included,
    /// `tcpi_data_segs_out` (Linux 4.6).
    #[inline]
    #[must_use]
    pub fn data_segments_out(&self) -> Option<u32> {
        self.u32(156)
    }

    /// Returns the segments that the peer has acknowledged, each once, `tcpi_delivered`
    /// (Linux 4.18): the handshake's, those with payload, and a FIN that had a segment to
    /// itself.
    #[inline]
    #[must_use]
    pub fn delivered(&self) -> Option<u32> {
        self.u32(192)
    }

    /// Returns the payload bytes that were sent, repetitions included, `tcpi_bytes_sent`
    /// (Linux 4.19).
    #[inline]
    #[must_use]
    pub fn bytes_sent(&self) -> Option<u64> {
        self.u64(200)
    }

    /// Returns the payload bytes that were sent again, `tcpi_bytes_retrans` (Linux 4.19).
    #[inline]
    #[must_use]
    pub fn bytes_retransmitted(&self) -> Option<u64> {
        self.u64(208)
    }

    /// Returns the window that the peer last advertised, in bytes, `tcpi_snd_wnd` (Linux
    /// 5.4).
    #[inline]
    #[must_use]
    pub fn send_window(&self) -> Option<u32> {
        self.u32(228)
    }

    /// A field of the structure's oldest part.
    #[inline]
    fn oldest(&self, at: usize) -> u32 {
        let bytes = &self.bytes;
        u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }

    // With `at` a constant one comparison is left of the two.
    #[inline]
    fn u32(&self, at: usize) -> Option<u32> {
        bytes::u32(&self.bytes, at).filter(|_| at + 4 <= self.len)
    }

    #[inline]
    fn u64(&self, at: usize) -> Option<u64> {
        bytes::u64(&self.bytes, at).filter(|_| at + 8 <= self.len)
    }
}

/// What follows from the fields.
impl TcpInfo {
    /// Returns the payload bytes that were transmitted, each counted once (Linux 4.19).
    #[inline]
    #[must_use]
    pub fn transmitted(&self) -> Option<u64> {
        self.bytes_sent()?.checked_sub(self.bytes_retransmitted()?)
    }

    /// Returns what send() accepted over the connection's life, in bytes, and one for a
    /// FIN that waits behind unsent data (Linux 4.19).
    #[inline]
    #[must_use]
    pub fn accepted(&self) -> Option<u64> {
        self.transmitted()?.checked_add(self.unsent()?.into())
    }

    /// Returns the counters of bytes and segments together, or `None` where the kernel
    /// lacks one of them (before Linux 4.19).
    #[inline]
    #[must_use]
    pub fn counters(&self) -> Option<Counters> {
        Some(Counters {
            acked: self.acked()?,
            received: self.received()?,
            unsent: self.unsent()?,
            min_rtt_us: self.min_rtt_us()?,
            data_segments_in: self.data_segments_in()?,
            transmitted: self.transmitted()?,
        })
    }

    /// Returns whether the handshake was over since the socket was made or, if that was
    /// later, disconnected: it leaves a round-trip time, or bytes in one of the
    /// directions.
    #[inline]
    #[must_use]
    pub fn was_connected(&self) -> bool {
        self.rtt_us() > 0 || self.acked() > Some(0) || self.received() > Some(0)
    }

    /// Returns whether the handshake is over, by the count of segments delivered, of
    /// which its own is the first (Linux 4.18).
    #[inline]
    #[must_use]
    pub fn handshake_over(&self) -> Option<bool> {
        self.delivered().map(|delivered| delivered > 0)
    }

    /// Returns whether nothing was ever transmitted, or a disconnect has cleared the
    /// counters (`tcp_disconnect`, `net/ipv4/tcp.c`): the other counts may hold anything
    /// then (Linux 4.19).
    #[inline]
    #[must_use]
    pub fn is_cleared(&self) -> Option<bool> {
        self.transmitted().map(|bytes| bytes == 0)
    }

    /// Returns whether our FIN was acknowledged, by the count of segments delivered
    /// (Linux 4.18). A FIN that was queued while data was unsent rides in the last data
    /// segment and reads as `false` (`tcp_send_fin`, `net/ipv4/tcp_output.c`).
    ///
    /// Returns `None` where the numbers do not add up, which retransmissions of anything
    /// but whole data segments make so.
    #[inline]
    #[must_use]
    pub fn fin_acked(&self) -> Option<bool> {
        let data = self
            .data_segments_out()?
            .checked_sub(self.retransmitted_segments())?;
        match self.delivered()?.checked_sub(data)?.checked_sub(1)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Returns whether retransmissions or probes are under way and have not been
    /// answered.
    #[inline]
    #[must_use]
    pub fn unanswered(&self) -> bool {
        self.unanswered_retransmits() > 0 || self.unanswered_probes() > 0
    }

    /// Returns the time since an ACK last arrived, with the resolution of a jiffy.
    #[inline]
    #[must_use]
    pub fn since_ack(&self) -> Duration {
        Duration::from_millis(self.last_ack_received_ms().into())
    }

    /// Returns the connections that a listening socket has complete and not accepted, or
    /// `None` if it does not listen.
    #[inline]
    #[must_use]
    pub fn backlog(&self) -> Option<u32> {
        match self.state() {
            Some(State::Listen) => Some(self.unacked()),
            _ => None,
        }
    }

    /// Returns the most bytes that are sent at once at a very low pacing rate
    /// (`tcp_tso_autosize`, `net/ipv4/tcp_output.c`): two segments, or more where the
    /// round trip is short.
    #[inline]
    #[must_use]
    pub fn burst(&self) -> u64 {
        let short = self
            .min_rtt_us()
            .map_or(0, |us| (1 << 16_u64) >> (us >> 9).min(63));
        short.max(2 * u64::from(self.send_mss().max(536)))
    }

    /// Returns what is not acknowledged of a connection that sent no FIN, by the counters
    /// alone (Linux 4.19). It is one less where a SYN of ours is among the acknowledged
    /// and data is in flight.
    #[inline]
    #[must_use]
    pub fn queued_before_fin(&self) -> Option<u64> {
        let in_flight = self.transmitted()?.saturating_sub(self.acked()?);
        Some(in_flight + u64::from(self.unsent()?))
    }

    /// Returns the counters of what was sent, beside the length of the send queue, or
    /// `None` where the kernel lacks one (before Linux 4.19).
    #[inline]
    #[must_use]
    pub fn send_counts(&self, queued: u64) -> Option<SendCounts> {
        Some(SendCounts {
            acked: self.acked()?,
            queued,
            transmitted: self.transmitted()?,
            unsent: self.unsent()?.into(),
        })
    }

    /// Returns whether these counters and a length of the send queue (`SIOCOUTQ`) that
    /// was read after them can be of one moment: together they hold the payload, a FIN
    /// where one was sent, and at most a SYN beside it. An acknowledgement in between
    /// shows as less.
    ///
    /// Returns `true` where the kernel lacks the counters, because reading again does not
    /// help.
    #[inline]
    #[must_use]
    pub fn agrees_with(&self, queued: u64) -> bool {
        let Some(counts) = self.send_counts(queued) else {
            return true;
        };
        let control = counts.control();
        match self.state() {
            // One that waits is among the unsent.
            Some(state) if state.fin_queued() && counts.unsent == 0 => {
                matches!(control, Some(1..=2))
            }
            None | Some(State::Closed) => matches!(control, Some(0..=2)),
            // SIOCOUTQ does not count yet.
            Some(state) if state.in_handshake() => true,
            Some(_) => matches!(control, Some(0..=1)),
        }
    }
}

impl fmt::Debug for TcpInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpInfo")
            .field("len", &self.len)
            .field("state", &self.state())
            .field("acked", &self.acked())
            .field("transmitted", &self.transmitted())
            .field("unsent", &self.unsent())
            .field("received", &self.received())
            .finish_non_exhaustive()
    }
}

/// The counters that say what became of the bytes, all of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// As [`TcpInfo::acked`]: payload bytes, our SYN if we connected, and our FIN.
    pub acked: u64,
    /// As [`TcpInfo::received`]: payload bytes, and the peer's FIN.
    pub received: u64,
    /// As [`TcpInfo::unsent`]: payload bytes, and a FIN that waits behind them.
    pub unsent: u32,
    /// As [`TcpInfo::min_rtt_us`]: `u32::MAX` before the first measurement.
    pub min_rtt_us: u32,
    /// As [`TcpInfo::data_segments_in`].
    pub data_segments_in: u32,
    /// As [`TcpInfo::transmitted`]: payload bytes, each counted once.
    pub transmitted: u64,
}

impl Counters {
    /// Returns whether the connection was ever established, in all the socket's life: the
    /// handshake leaves a round-trip time that not even a disconnect clears.
    #[inline]
    #[must_use]
    pub const fn was_established(&self) -> bool {
        self.min_rtt_us != u32::MAX || self.acked > 0 || self.received > 0 || self.transmitted > 0
    }

    /// Returns the counters of what was sent, beside the length of the send queue
    /// (`SIOCOUTQ`, `idiag_wqueue`).
    #[inline]
    #[must_use]
    pub fn send_counts(&self, queued: u64) -> SendCounts {
        SendCounts {
            acked: self.acked,
            queued,
            transmitted: self.transmitted,
            unsent: self.unsent.into(),
        }
    }
}

#[cfg(all(feature = "std", target_os = "linux"))]
impl TcpInfo {
    /// Asks the kernel about a TCP socket: `getsockopt(TCP_INFO)`, [tcp(7)]. An MPTCP
    /// socket answers for one of its subflows.
    ///
    /// # Errors
    ///
    /// What getsockopt(2) answers: `ENOPROTOOPT` or `EOPNOTSUPP` of another protocol's
    /// socket, `ENOTSOCK`, or what a sandbox says. `EIO` where the answer is shorter than
    /// [`OLDEST`].
    ///
    /// [tcp(7)]: https://man7.org/linux/man-pages/man7/tcp.7.html
    #[inline]
    pub fn of(socket: std::os::fd::BorrowedFd<'_>) -> std::io::Result<Self> {
        use std::os::fd::AsRawFd;

        let mut info = Self::EMPTY;
        let mut len = LENGTH as libc::socklen_t;
        // SAFETY: there is room for `len` bytes, and both outlive the call.
        let answer = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.bytes.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if answer == -1 {
            return Err(std::io::Error::last_os_error());
        }
        if (len as usize) < OLDEST {
            // Never so far.
            return Err(std::io::Error::from_raw_os_error(libc::EIO));
        }
        info.len = LENGTH.min(len as usize);
        info.state = State::from_raw(info.bytes[0].into());
        Ok(info)
    }
}

#[cfg(test)]
mod tests;
