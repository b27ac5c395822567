//! # How an ending works
//!
//! ## Learning the fate
//!
//! 1. `shutdown(SHUT_WR)` queues the FIN behind the data and keeps the
//!    descriptor. A connection with a descriptor is no orphan: the kernel cannot
//!    drop it for want of memory, and its counters stay readable.
//! 2. Input is discarded as it comes (`recv` with `MSG_TRUNC`, which does not
//!    copy), so that no unread byte turns the close into an RST, up to
//!    [`Policy::with_drain_bytes`].
//! 3. The FIN's ACK wakes the socket. After a shutdown the socket is writable for
//!    good, so level-triggered polling is blind to it; edge-triggered epoll
//!    reports the wake-up as one more `EPOLLOUT`. No thread polls or sleeps.
//! 4. `SIOCOUTQ` is the distance from the last byte written to the last one
//!    acknowledged. Zero means that data and FIN have arrived at the peer's TCP.
//! 5. At the deadline a socket filter first drops everything that still comes in,
//!    so that the counters stand still; then they are read; then the connection
//!    is reset. What is reported lost is what the reset discarded, and an ACK that
//!    comes at the last moment is either counted or not there.
//!
//! ## The peer's FIN, and whose RST
//!
//! recv() gives 0 also where the program shut down its reading side, and after a
//! reset whose error was taken. So the peer's FIN is read from the connection's state;
//! of one that is gone, from the hint that `TCP_INQ` gives, which counts a FIN where
//! SIOCINQ does not.
//!
//! ECONNRESET is the peer's RST, except where input came for a reading side that is
//! shut down: then the kernel resets the connection by itself and says the same. A
//! close attaches a filter that keeps such input out (`ret #1`: a segment is cut to
//! its header). Where it cannot, the count of data segments shows whose RST it was. Where
//! it can, the peer's FIN still resets the connection if it comes behind data that was kept
//! out, and nothing counts that; so a reset is `failed` then, and `rst_sent` is `None`. Any
//! other error is the kernel's: `failed`. If a read or write of the program's has taken the
//! error, the fate is `failed` without a reason.
//!
//! ## A handshake that is not over
//!
//! With TCP Fast Open a server writes before its SYN-ACK is acknowledged, and a client
//! into its SYN. SIOCOUTQ says 0 there whatever is queued, and the kernel puts a FIN
//! off; the queue is taken from the counters, and the close waits for the handshake.
//!
//! ## Counting payload
//!
//! The kernel counts sequence numbers, of which SYN and FIN take one each. The
//! FIN is in `SIOCOUTQ` until it is acknowledged; the state says whether it was
//! sent. The SYN is in `tcpi_bytes_acked` on the connecting side only, and
//! nothing says which side that is; but `tcpi_bytes_sent − tcpi_bytes_retrans +
//! tcpi_notsent_bytes` is payload alone, and the difference must be what SYN and
//! FIN account for. Where it is not (a transmission that failed half-way is
//! counted twice), [`Report::acked`] is `None`. [`Report::lost`] does not depend
//! on it.
//!
//! A connection that is reset *before* the close begins no longer shows whether
//! the program had shut down its sending side; see [`Policy::with_shut_down`].
//!
//! ## After the report
//!
//! A peer that is still sending when our descriptor goes away is reset, and
//! outside Linux a reset may take with it what the peer has received and not
//! read (RFC 9112 §9.6). So a connection on which input kept arriving is held
//! after delivery, discarding, until the peer closes or
//! [`Policy::with_drain_time`] is over. The report does not wait for that.
//!
//! [`Policy::with_drain_bytes`]: crate::Policy::with_drain_bytes
//! [`Policy::with_drain_time`]: crate::Policy::with_drain_time
//! [`Policy::with_shut_down`]: crate::Policy::with_shut_down
//! [`Report::acked`]: crate::Report::acked
//! [`Report::lost`]: crate::Report::lost
