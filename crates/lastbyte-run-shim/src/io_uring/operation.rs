//! What is submitted to a ring, and whether it concerns connections: no system calls.

/// `IORING_SETUP_*` (include/uapi/linux/io_uring.h) with which a ring's queue can be
/// looked at: CQSIZE, CLAMP, ATTACH_WQ, R_DISABLED, SUBMIT_ALL, COOP_TASKRUN,
/// TASKRUN_FLAG, CQE32, SINGLE_ISSUER, DEFER_TASKRUN; SQPOLL and SQ_AFF.
const READABLE: u32 = 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 9
    | 1 << 11
    | 1 << 12
    | 1 << 13
    | SQPOLL
    | 1 << 2;
/// A thread of the kernel takes what is submitted, without a system call.
pub(crate) const SQPOLL: u32 = 1 << 1;

/// `IORING_ENTER_REGISTERED_RING`: the descriptor is none.
const ENTER_REGISTERED: u32 = 1 << 4;
/// `IOSQE_FIXED_FILE`: likewise.
const FIXED_FILE: u8 = 1;
/// `IORING_REGISTER_USE_REGISTERED_RING`.
const USE_REGISTERED: u32 = 1 << 31;

/// One entry of a submission queue, `struct io_uring_sqe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Submission {
    pub(crate) opcode: u8,
    pub(crate) flags: u8,
    pub(crate) priority: u16,
    pub(crate) fd: i32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) rest: [u32; 9],
}

/// What a submission does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing to connections.
    None,
    /// Reads or writes the descriptor, which may be a file.
    Uses(i32),
    /// Closes the descriptor, which may be a file.
    Closes(i32),
    /// Adds `fd` to the epoll set, or changes or removes it.
    Epoll { set: i32, operation: i32, fd: i32 },
    /// It can hold, make, end or send a connection.
    Connection,
}

/// Whether a ring that was set up so can be looked at.
pub(crate) fn is_readable(setup: u32) -> bool {
    setup & !READABLE == 0
}

/// Whether io_uring_enter(2) names its ring by a descriptor.
pub(crate) fn enters_by_descriptor(flags: u32) -> bool {
    flags & ENTER_REGISTERED == 0
}

/// Whether io_uring_register(2) leaves descriptors out of the ring: buffers, an eventfd,
/// what the ring can do.
pub(crate) fn registers_no_descriptor(operation: u32) -> bool {
    // BUFFERS to UNREGISTER_BUFFERS, EVENTFD and its kin, PROBE, PERSONALITY,
    // RESTRICTIONS, ENABLE_RINGS, BUFFERS2 and its update, IOWQ_*, PBUF_RING.
    operation & USE_REGISTERED == 0
        && matches!(operation, 0 | 1 | 4 | 5 | 7..=12 | 15..=19 | 22 | 23)
}

impl Submission {
    /// What it does, as far as it says itself.
    pub(crate) fn effect(&self) -> Effect {
        if self.flags & FIXED_FILE != 0 {
            return Effect::Connection;
        }
        match self.opcode {
            // NOP, FSYNC, SYNC_FILE_RANGE, TIMEOUT, TIMEOUT_REMOVE, ASYNC_CANCEL,
            // LINK_TIMEOUT, FALLOCATE, OPENAT, STATX, FADVISE, MADVISE, OPENAT2,
            // RENAMEAT, UNLINKAT, MKDIRAT, SYMLINKAT, LINKAT, FTRUNCATE.
            0 | 3 | 8 | 11 | 12 | 14 | 15 | 17 | 18 | 21 | 24 | 25 | 28 | 35..=39 | 55 => {
                Effect::None
            }
            // READV, WRITEV, READ_FIXED, WRITE_FIXED, READ, WRITE.
            1 | 2 | 4 | 5 | 22 | 23 => Effect::Uses(self.fd),
            // CLOSE.
            19 => Effect::Closes(self.fd),
            // EPOLL_CTL.
            29 => Effect::Epoll {
                set: self.fd,
                operation: self.length.cast_signed(),
                fd: self.offset as i32,
            },
            _ => Effect::Connection,
        }
    }
}
