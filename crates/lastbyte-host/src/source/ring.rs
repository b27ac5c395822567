//! perf events and the ring buffers they write to ([perf_event_open(2)]). Kept by hand: no
//! well-kept library opens tracepoints for every process and reads raw records.
//!
//! [perf_event_open(2)]: https://man7.org/linux/man-pages/man2/perf_event_open.2.html

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use super::check;
use crate::parse::perf::Record;

/// Bytes of all rings together: some 300 000 steps.
const BUDGET: usize = 32 << 20;

/// Bytes of each of this many rings: a power of two, as the kernel wants it.
#[must_use]
pub(crate) fn ring_size(rings: usize) -> usize {
    let share = BUDGET / rings.max(1);
    (share + 1)
        .next_power_of_two()
        .div_euclid(2)
        .clamp(256 << 10, 16 << 20)
}

/// `struct perf_event_attr`, version 5 (Linux 4.1, 112 bytes): the part used.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clock: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

const IOC_ENABLE: libc::Ioctl = 0x2400;
const IOC_SET_OUTPUT: libc::Ioctl = 0x2405;
const IOC_SET_FILTER: libc::Ioctl = 0x4008_2406;

/// An open tracepoint on one CPU.
#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    /// Opens tracepoint number `id` for every process on `cpu`, disabled.
    /// `names` also asks for forks, execs and exits; `ring` is the size of the ring
    /// it will write to.
    ///
    /// # Errors
    ///
    /// `EACCES` without `CAP_PERFMON`, where `kernel.perf_event_paranoid` asks
    /// for it.
    pub(crate) fn open(id: u64, cpu: u32, names: bool, ring: usize) -> io::Result<Self> {
        const TRACEPOINT: u32 = 2;
        const SAMPLE_TID: u64 = 1 << 1;
        const SAMPLE_TIME: u64 = 1 << 2;
        const SAMPLE_RAW: u64 = 1 << 10;
        const DISABLED: u64 = 1;
        const COMM: u64 = 1 << 9;
        const TASK: u64 = 1 << 13;
        const WATERMARK: u64 = 1 << 14;
        const SAMPLE_ID_ALL: u64 = 1 << 18;
        const USE_CLOCKID: u64 = 1 << 25;
        const FLAG_FD_CLOEXEC: libc::c_ulong = 8;
        let attributes = Attributes {
            kind: TRACEPOINT,
            size: size_of::<Attributes>() as u32,
            config: id,
            sample_period: 1,
            sample_type: SAMPLE_TID | SAMPLE_TIME | SAMPLE_RAW,
            flags: DISABLED
                | WATERMARK
                | SAMPLE_ID_ALL
                | USE_CLOCKID
                | if names { COMM | TASK } else { 0 },
            wakeup_watermark: u32::try_from(ring / 4).map_err(io::Error::other)?,
            clock: libc::CLOCK_MONOTONIC,
            ..Attributes::default()
        };
        // SAFETY: the attributes tell their own size; -1 means every process.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                -1,
                cpu,
                -1,
                FLAG_FD_CLOEXEC,
            )
        };
        let fd = check(libc::c_int::try_from(fd).map_err(io::Error::other)?)?;
        // SAFETY: the descriptor was just made and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Lets only records through that match, in the language of tracefs filters.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a filter this kernel cannot read.
    pub(crate) fn filter(&self, filter: &CStr) -> io::Result<()> {
        // SAFETY: the filter ends in NUL and lives through the call.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), IOC_SET_FILTER, filter.as_ptr()) })?;
        Ok(())
    }

    /// Writes into another event's ring.
    ///
    /// # Errors
    ///
    /// The other has no ring, or is of another CPU.
    pub(crate) fn write_to(&self, ring: &Ring) -> io::Result<()> {
        // SAFETY: both descriptors are open.
        check(unsafe {
            libc::ioctl(self.0.as_raw_fd(), IOC_SET_OUTPUT, ring.event.0.as_raw_fd())
        })?;
        Ok(())
    }

    /// Starts.
    ///
    /// # Errors
    ///
    /// None known.
    pub(crate) fn enable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open; the request takes no argument.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), IOC_ENABLE, 0) })?;
        Ok(())
    }
}

/// The ring of one CPU, and the event that owns it.
#[derive(Debug)]
pub(crate) struct Ring {
    event: Event,
    map: NonNull<u8>,
    length: usize,
    data: usize,
    size: usize,
    scratch: Vec<u8>,
}

// SAFETY: the mapping belongs to this value alone and is reached only through
// `&mut self`; nothing about it is bound to the thread that made it.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the ring of an event, of [`ring_size`] bytes.
    ///
    /// # Errors
    ///
    /// `EPERM` when `kernel.perf_event_mlock_kb` forbids a ring of this size.
    pub(crate) fn map(event: Event, size: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let length = page + size;
        // SAFETY: a new mapping where the kernel likes; the result is checked.
        let map = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.0.as_raw_fd(),
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let map = NonNull::new(map.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self {
            event,
            map,
            length,
            data: page,
            size,
            scratch: Vec::new(),
        })
    }

    /// Its event.
    #[must_use]
    pub(crate) fn event(&self) -> &Event {
        &self.event
    }

    /// Hands every record written so far to `each`. Whether it was full: then some
    /// may have been dropped that no record tells of yet.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(Record<'_>)) -> bool {
        // More than any record takes.
        const LARGEST: u64 = 4096;
        const HEAD: usize = 1024;
        const TAIL: usize = 1032;
        // Acquire: what was written before the head moved is seen.
        let head = self.position(HEAD).load(Ordering::Acquire);
        let mut tail = self.position(TAIL).load(Ordering::Relaxed);
        let full = head.saturating_sub(tail) + LARGEST > self.size as u64;
        let mut scratch = std::mem::take(&mut self.scratch);
        while tail < head {
            scratch.resize(8, 0);
            self.copy(tail, &mut scratch);
            let Some(length) = Record::length(&scratch) else {
                tail = head;
                break;
            };
            if tail + length as u64 > head {
                tail = head;
                break;
            }
            scratch.resize(length, 0);
            self.copy(tail, &mut scratch);
            if let Some(record) = Record::parse(&scratch) {
                each(record);
            }
            tail += length as u64;
        }
        self.scratch = scratch;
        // Release: what was read is read before the kernel may write over it.
        self.position(TAIL).store(tail, Ordering::Release);
        full
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the first page is the kernel's `perf_event_mmap_page`, where
        // data_head and data_tail are aligned u64 that both sides use atomically;
        // the mapping lives as long as self.
        unsafe { &*self.map.as_ptr().add(offset).cast::<AtomicU64>() }
    }

    /// Copies from a position of the ring, around its end.
    fn copy(&self, at: u64, to: &mut [u8]) {
        let from = (at % self.size as u64) as usize;
        let first = to.len().min(self.size - from);
        let rest = (to.len() - first).min(self.size);
        // SAFETY: the data area is `size` bytes from `self.data` on; from + first
        // and rest are at most that. The kernel writes nothing between tail and
        // head, and callers read only there.
        unsafe {
            let data = self.map.as_ptr().add(self.data);
            ptr::copy_nonoverlapping(data.add(from), to.as_mut_ptr(), first);
            ptr::copy_nonoverlapping(data, to.as_mut_ptr().add(first), rest);
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.0.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` with this length; no reference outlives self.
        unsafe { libc::munmap(self.map.as_ptr().cast(), self.length) };
    }
}
