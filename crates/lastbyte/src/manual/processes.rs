//! # Processes, threads, signals
//!
//! **Exit.** Threads end with the process, and the kernel closes what is open.
//! What [`close`] has reported stands. What was left to the
//! [background](crate::background) goes on in the kernel, and is lost there if
//! input is unread or arrives later. A program that closes with
//! [`Linger::Off`](crate::Linger::Off) and ends calls
//! [`background().wait(…)`](crate::Background::wait) first.
//!
//! A program that runs under the command `lastbyte run` has a process that outlives
//! it and finishes its connections, exits and crashes included.
//!
//! **Fork.** A child shares its parent's descriptors. Closing in one of them ends
//! the connection for both: this library ends connections, where close(2) only
//! drops a reference. The child's background closer is its own.
//!
//! **Duplicates** (`try_clone`, dup) likewise: they see EOF or a reset.
//!
//! **Threads.** Only the caller of [`close`] waits. A thread that is blocked in a
//! read on the same connection competes for its input while the close discards
//! it; shut down its reading first.
//!
//! **Signals** do not cut a wait short; handlers run, and the wait goes on to its
//! deadline.
//!
//! **Time** is CLOCK_MONOTONIC: deadlines stand still while the machine sleeps
//! and do not care about the wall clock.
//!
//! [`close`]: crate::close()
