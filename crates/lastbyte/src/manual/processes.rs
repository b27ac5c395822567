//! # Processes, threads, signals
//!
//! **Exit.** Threads end with the process, and the kernel closes what is open.
//! What [`close`] has reported stands. What was left to the
//! [background](crate::background) goes on in the kernel, and is lost there if
//! input is unread or arrives later. A program that closes with
//! [`Linger::Off`](crate::Linger::Off) and ends calls
//! [`background().wait(…)`](crate::Background::wait) first; or
//! [`wait_delivered(…)`](crate::Background::wait_delivered), which does not stay for
//! peers that may still be sending.
//!
//! A program that runs under the command `lastbyte run` has a process that outlives
//! it and finishes its connections, exits and crashes included.
//!
//! **Fork.** A child shares its parent's descriptors. Closing in one of them ends
//! the connection for both: this library ends connections, where close(2) only
//! drops a reference. The child's background closer is its own: no lock of this library
//! is held across the fork, so that a child never hangs on one. A
//! [`Closer`](crate::Closer) made before belongs to the parent; in the child it gives
//! sockets back with an error (`ESRCH`), and every wait for it returns that error at once.
//!
//! **Callbacks** of a closer run on its thread. They can close more, but not wait for
//! their own closer: [`drain`](crate::Closer::drain) and
//! [`wait_idle`](crate::Closer::wait_idle) answer there at once (`EDEADLK`). A panic in
//! a callback, or in what it captured, ends with that call.
//!
//! **Duplicates** (`try_clone`, dup) share the connection likewise: they see EOF or a
//! reset.
//!
//! **Threads.** Only the caller of [`close`] waits. A thread that is blocked in a
//! read on the same connection competes for its input while the close discards
//! it. Shutting down the reading side first wakes it, by [`shutdown`] and not by
//! shutdown(2): there Linux resets the connection on the next input, and the send
//! queue is lost.
//!
//! **Signals** do not cut a wait short; handlers run, and the wait goes on to its
//! deadline.
//!
//! **Time** is CLOCK_MONOTONIC: deadlines stand still while the machine sleeps
//! and do not care about the wall clock.
//!
//! [`close`]: crate::close()
//! [`shutdown`]: crate::shutdown()
