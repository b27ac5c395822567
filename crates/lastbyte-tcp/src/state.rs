//! The states of a TCP socket.

use core::fmt;

/// A TCP state, numbered as in the kernel (`include/net/tcp_states.h`).
///
/// The variants have the names of RFC 9293 section 3.3.2; [`as_str`](Self::as_str) gives
/// the names that manuals and `ss` use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// The handshake is over and neither side has closed.
    Established = 1,
    /// This side has sent a SYN, which the peer has not answered. With TCP Fast Open
    /// (RFC 7413) data may be queued already.
    SynSent = 2,
    /// This side has answered the peer's SYN. A socket that a program holds is in this
    /// state only after TCP Fast Open; it may have been written to already.
    SynReceived = 3,
    /// This side has closed; its FIN is not acknowledged.
    FinWait1 = 4,
    /// This side has closed; its FIN is acknowledged, and the peer has not closed.
    FinWait2 = 5,
    /// Both sides have closed, this one first; what remains waits for late segments.
    TimeWait = 6,
    /// There is no connection: it is over, or there never was one.
    Closed = 7,
    /// The peer has closed, this side has not.
    CloseWait = 8,
    /// Both sides have closed, the peer first; our FIN is not acknowledged.
    LastAck = 9,
    /// The socket listens.
    Listen = 10,
    /// Both sides have closed at the same time; our FIN is not acknowledged.
    Closing = 11,
    /// This side has answered the peer's SYN, and no socket has been made yet
    /// (`TCP_NEW_SYN_RECV`, Linux 4.1): only tracepoints and dumps of a listener show it.
    NewSynReceived = 12,
}

impl State {
    /// Every state, in the order of the kernel's numbers.
    pub const ALL: [Self; 12] = [
        Self::Established,
        Self::SynSent,
        Self::SynReceived,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Closed,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynReceived,
    ];

    /// Returns the state that has the kernel's number, or `None` if none has.
    #[inline]
    #[must_use]
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Closed,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            12 => Self::NewSynReceived,
            _ => return None,
        })
    }

    /// Returns the state's bit in a mask of states, as inet_diag requests take it.
    #[inline]
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Returns the name that manuals use: `FIN_WAIT1`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynReceived => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Closed => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::NewSynReceived => "NEW_SYN_RECV",
        }
    }

    /// Reports whether the handshake is under way: the kernel sends no FIN yet, and
    /// `SIOCOUTQ` answers 0 whatever is queued (`tcp_ioctl`, `net/ipv4/tcp.c`).
    #[inline]
    #[must_use]
    pub const fn in_handshake(self) -> bool {
        matches!(
            self,
            Self::SynSent | Self::SynReceived | Self::NewSynReceived
        )
    }

    /// Reports whether this side's FIN is in the send queue or beyond: nothing can be
    /// written any more. [`Closed`](Self::Closed) does not say, and counts as no.
    #[inline]
    #[must_use]
    pub const fn fin_queued(self) -> bool {
        matches!(
            self,
            Self::FinWait1 | Self::FinWait2 | Self::Closing | Self::LastAck | Self::TimeWait
        )
    }

    /// Reports whether this side's FIN is queued or sent and not acknowledged, so that
    /// it is one of the bytes that `SIOCOUTQ` and `idiag_wqueue` count.
    #[inline]
    #[must_use]
    pub const fn fin_unacknowledged(self) -> bool {
        matches!(self, Self::FinWait1 | Self::Closing | Self::LastAck)
    }

    /// Reports whether the peer's FIN has arrived. [`Closed`](Self::Closed) does not
    /// say, and counts as no.
    #[inline]
    #[must_use]
    pub const fn peer_closed(self) -> bool {
        matches!(
            self,
            Self::CloseWait | Self::LastAck | Self::Closing | Self::TimeWait
        )
    }

    /// Returns whether closing with `SO_LINGER` on and 0 from here puts an RST on the wire
    /// (RFC 9293 section 3.10.5; `tcp_disconnect`, `net/ipv4/tcp.c`). `unsent` is how much
    /// was never transmitted: in CLOSING and LAST_ACK an RST is sent only while something
    /// is. Returns `None` where that decides and is not known.
    #[inline]
    #[must_use]
    pub fn abort_sends_rst(self, unsent: Option<u64>) -> Option<bool> {
        match self {
            Self::SynReceived
            | Self::Established
            | Self::CloseWait
            | Self::FinWait1
            | Self::FinWait2 => Some(true),
            Self::Closing | Self::LastAck => unsent.map(|unsent| unsent > 0),
            Self::SynSent | Self::TimeWait | Self::Closed | Self::Listen | Self::NewSynReceived => {
                Some(false)
            }
        }
    }
}

impl fmt::Display for State {
    /// Writes [`as_str`](Self::as_str).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bits_are_the_kernels() {
        for (index, state) in State::ALL.into_iter().enumerate() {
            let raw = u32::try_from(index + 1).expect("twelve states");
            assert_eq!(State::from_raw(raw), Some(state));
            assert_eq!((state as u32, state.bit()), (raw, 1 << raw));
        }
        // TCPF_LISTEN and TCPF_TIME_WAIT of include/net/tcp_states.h.
        assert_eq!((State::Listen.bit(), State::TimeWait.bit()), (1024, 64));
        assert_eq!((State::from_raw(0), State::from_raw(13)), (None, None));
    }

    #[test]
    fn names_are_those_of_manuals() {
        extern crate std;
        use std::string::ToString;
        let names = State::ALL.map(|state| state.to_string());
        assert_eq!(
            names.join(" "),
            "ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT \
             LAST_ACK LISTEN CLOSING NEW_SYN_RECV"
        );
    }

    /// RFC 9293 figure 5, row by row: handshake under way, our FIN queued, of these not
    /// acknowledged, the peer's FIN in.
    #[test]
    fn each_state_says_which_fins_are_in() {
        use State::*;
        let table = [
            (Established, [false, false, false, false]),
            (SynSent, [true, false, false, false]),
            (SynReceived, [true, false, false, false]),
            (FinWait1, [false, true, true, false]),
            (FinWait2, [false, true, false, false]),
            (TimeWait, [false, true, false, true]),
            (Closed, [false, false, false, false]),
            (CloseWait, [false, false, false, true]),
            (LastAck, [false, true, true, true]),
            (Listen, [false, false, false, false]),
            (Closing, [false, true, true, true]),
            (NewSynReceived, [true, false, false, false]),
        ];
        assert_eq!(table.map(|(state, _)| state), State::ALL);
        for (state, expected) in table {
            let said = [
                state.in_handshake(),
                state.fin_queued(),
                state.fin_unacknowledged(),
                state.peer_closed(),
            ];
            assert_eq!(said, expected, "{state}");
        }
    }

    #[test]
    fn an_abort_sends_an_rst_while_the_peer_expects_more() {
        use State::*;
        for state in State::ALL {
            let expected = match state {
                SynReceived | Established | CloseWait | FinWait1 | FinWait2 => [Some(true); 3],
                Closing | LastAck => [None, Some(false), Some(true)],
                _ => [Some(false); 3],
            };
            let said = [None, Some(0), Some(1)].map(|unsent| state.abort_sends_rst(unsent));
            assert_eq!(said, expected, "{state}");
        }
    }
}
