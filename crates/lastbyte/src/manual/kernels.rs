//! # What kernels do instead
//!
//! ## Linux
//!
//! These were measured on 6.18 (`lastbyte lab` measures yours); the code is `__tcp_close`
//! in net/ipv4/tcp.c.
//!
//! - **Unread input turns the close into a reset.** With a single unread byte in the receive
//!   queue close(2) sends an RST and throws the whole send queue away, whatever
//!   the linger option says. So does input that arrives after the close.
//! - **O_NONBLOCK is not consulted.** With a linger time, close(2) on a
//!   non-blocking socket freezes its thread, and the event loop on it, for that
//!   long.
//! - **Time running out is not an error.** close(2) returns 0; the data stays
//!   queued and may still be delivered, or not.
//! - **Neither is a reset** during the wait, nor a signal, which ends the wait:
//!   close(2) returns 0.
//! - **Orphans are not guaranteed.** A socket without a descriptor can be reset for
//!   want of memory or beyond `tcp_max_orphans`, and no call reports it.
//! - `shutdown()` never lingers, although socket(7) says so.
//! - A negative `l_linger` waits for ever.
//!
//! ## Others
//!
//! This table is from source code \[S\] or documentation \[D\].
//!
//! | stack | on+N blocking, time-out | on+N non-blocking | unread input | unit, range |
//! |---|---|---|---|---|
//! | FreeBSD 13 \[S\] | −1 `EWOULDBLOCK`, not discarded | 0 at once, background | FIN | s, stored in a short |
//! | OpenBSD \[S\] | error returned, detach continues | at once | – | s, 0 to 32 767 |
//! | macOS \[S\] | `EWOULDBLOCK` turned into 0 | at once | RST | ticks of 1/100 s; `SO_LINGER_SEC` wraps beyond 327 s |
//! | Windows \[D\] | terminates; the result does not show it | `WSAEWOULDBLOCK`, nothing started | – | s, u_short |
//! | lwIP \[S\] | aborts | `ERR_WOULDBLOCK` | – | s; 32 768 and up turn linger off |
//! | gVisor \[S\] | error ignored, no RST | blocks | RST | s |
