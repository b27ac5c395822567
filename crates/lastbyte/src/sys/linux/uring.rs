//! io_uring in epoll's place: multishot polls, submitted and reaped in batches.
//!
//! A multishot poll reports what holds at once and then each further wake-up, as
//! edge-triggered epoll does (io_uring_enter(2), IORING_OP_POLL_ADD). Watching
//! costs an entry in a shared ring instead of a system call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::super::Readiness;
use super::edges::Event;

/// Submissions gathered before they have to be handed over.
const BATCH: u32 = 1024;
/// Completions that may wait; beyond it the kernel ends multishot polls, and
/// they are set anew.
const WAITING: u32 = 32_768;
/// Answers that nobody waits for.
const IGNORED: u64 = u64::MAX - 1;

pub(crate) struct Ring(IoUring);

impl Ring {
    /// A ring for the calling thread.
    ///
    /// # Errors
    /// There is no io_uring, it is forbidden (`kernel.io_uring_disabled`,
    /// seccomp), or it is too old.
    pub(crate) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_clamp()
            .setup_cqsize(WAITING)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(BATCH)?;
        let params = ring.params();
        if !(params.is_feature_ext_arg() && params.is_feature_nodrop()) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self(ring))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: polls and their removal refer to no memory of ours; the
            // descriptor is open while the entry is submitted, which the kernel
            // checks.
            if unsafe { self.0.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.0.submit()?;
        }
    }
}

impl Readiness for Ring {
    fn add(&mut self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let events = (libc::POLLIN | libc::POLLOUT) as u32 | libc::POLLRDHUP as u32;
        let poll = opcode::PollAdd::new(types::Fd(socket.as_raw_fd()), events)
            .multi(true)
            .build()
            .user_data(token);
        self.push(&poll)
    }

    fn add_readable(&mut self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let poll = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(token);
        self.push(&poll)
    }

    /// A poll keeps its socket open; the connection is released when it goes.
    fn forget(&mut self, token: u64) {
        let remove = opcode::PollRemove::new(token).build().user_data(IGNORED);
        // It fails only where the ring does, and that the next wait tells.
        let _ = self.push(&remove);
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let spec;
        let mut args = types::SubmitArgs::new();
        if let Some(time) = timeout {
            spec = types::Timespec::from(time);
            args = args.timespec(&spec);
        }
        match self.0.submitter().submit_with_args(1, &args) {
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => {}
                _ => return Err(error),
            },
        }
        for done in self.0.completion() {
            if done.user_data() != IGNORED && done.result() != -libc::ECANCELED {
                let last = !cqueue::more(done.flags());
                // A negative result is an error of the poll itself: look.
                let mask = u32::try_from(done.result()).unwrap_or(libc::POLLERR as u32);
                events.push(Event::from_poll(done.user_data(), mask, last));
            }
        }
        Ok(())
    }
}
