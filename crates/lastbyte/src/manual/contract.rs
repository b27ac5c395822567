//! # The contract
//!
//! These rows say what closing a TCP socket does according to four decades of manuals.
//! They can be run: `lastbyte lab` runs each of them on the machine it stands on, once
//! with plain close(2) and once with this library, and shows the packets.
//!
//! ## A. The option
//!
//! | id | situation | kept as |
//! |---|---|---|
//! | A1 | get on a fresh socket | [`Linger::Off`] |
//! | A2 | set and get back | exact; what the platform cannot hold is refused ([`LingerRangeError`]) |
//! | A3 | a wait of 500 ms | kept to the millisecond by [`close`]; a raw option is rounded up, never to 0 |
//! | A4 | units | seconds and ticks, see [`LingerForm`] |
//! | A5 | a negative `l_linger` left by another program | [`Linger::Endless`]: reported as it is, no deadline |
//!
//! ## B. Off: return now, deliver in the background
//!
//! | id | situation | kept as |
//! |---|---|---|
//! | B1 | data queued, the peer reads later | everything arrives, then EOF |
//! | B2 | unread input in our receive queue | the same; plain close(2) sends an RST and drops the send queue |
//! | B3 | the peer sends after we closed | the same |
//! | B4 | the process exits right after | the same, where somebody outlives it; see [`processes`](super::processes) |
//! | B5 | the program had shut down its reading side, and the peer sends on | the same: data is kept out by a socket filter. Where the program has a filter of its own, the report says that the reset was ours |
//! | B6 | the connection came by TCP Fast Open and its handshake is not over | the same; never called delivered before it is |
//!
//! ## C. Abort: on, 0
//!
//! | id | situation | kept as |
//! |---|---|---|
//! | C1 | data queued | RST, data discarded, and the bytes counted |
//! | C2 | afterwards | no TIME_WAIT |
//! | C3 | from any state | [`Report::rst_sent`] says whether an RST went out |
//!
//! ## D. Wait: on, N, blocking
//!
//! | id | situation | kept as |
//! |---|---|---|
//! | D1 | everything acknowledged in time | returns as the ACK arrives |
//! | D2 | time runs out | `EWOULDBLOCK` at N, RST, what was lost counted: written − acknowledged |
//! | D3 | the peer resets during the wait | `ECONNRESET` at once |
//! | D4 | has the application read it? | [`Policy::with_confirm`] waits for the peer's own close |
//! | D5 | a signal arrives | the wait goes on |
//! | D6 | unread input, before or during the wait | delivered; the input discarded is counted |
//! | D7 | the network is gone | as D2, or the kernel's own error if it gives up first |
//! | D8 | other threads | are not held up |
//! | D9 | the kernel gives up while the peer's own close is awaited | `failed` with that error; `reset` is the peer's RST alone |
//!
//! ## E. Wait: on, N, non-blocking
//!
//! | id | situation | kept as |
//! |---|---|---|
//! | E1 | the call | returns at once: would block, with a live handle |
//! | E2 | finishing later | [`Closing::try_finish`], as D1 to D7 |
//! | E3 | the handle is dropped | the close goes on in the background to its deadline |
//!
//! ## F. Many
//!
//! | id | situation | kept as |
//! |---|---|---|
//! | F1 | thousands of closes at once | [`Closer`]: one thread, every report exact, every deadline kept |
//! | F2 | descriptors, threads or memory exhausted | a clear error, the socket given back |
//! | F3 | a drain of many with one deadline, as in a deploy | a report for each connection, and the sums |
//!
//! ## G. The report
//!
//! | field | meaning |
//! |---|---|
//! | `fate` | one of the words of [`Fate`] |
//! | `acked` | payload bytes that the peer's TCP acknowledged |
//! | `lost` | accepted by send() and never acknowledged; 0 when delivered |
//! | `unsent` | of `lost`, never transmitted |
//! | `unread` | input that arrived and was discarded |
//! | `rst_sent` | whether we sent an RST |
//! | `closed_first` | `local` or `peer` |
//! | `elapsed_us` | from the call to the fate |
//! | `error` | the errno's name for a failed close, else null |
//!
//! A system call that fails gives no count, and is not read as 0. Where the kernel does
//! not let a close see or act, the connection is left to the kernel's own close: its fate
//! is `detached`, and every count is `None`. After an error, an RST is not called the
//! peer's unless that is known.
//!
//! Feature `serde` serializes a [`Report`] with exactly these names.
//!
//! [`Linger::Off`]: crate::Linger::Off
//! [`Linger::Endless`]: crate::Linger::Endless
//! [`LingerRangeError`]: crate::LingerRangeError
//! [`LingerForm`]: crate::LingerForm
//! [`close`]: crate::close()
//! [`Report`]: crate::Report
//! [`Report::rst_sent`]: crate::Report::rst_sent
//! [`Fate`]: crate::Fate
//! [`Policy::with_confirm`]: crate::Policy::with_confirm
//! [`Closing::try_finish`]: crate::Closing::try_finish
//! [`Closer`]: crate::Closer
