//! A receive ring of AF_PACKET: the kernel writes the head of every packet on the
//! loopback interface into memory we share with it (TPACKET_V2,
//! Documentation/networking/packet_mmap.rst).
//!
//! A plain packet socket would not do: its queue is charged with whole packets,
//! so four 64 KiB segments fill it and the rest is dropped.

use std::io;
use std::mem::{offset_of, size_of};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, c_void, socklen_t, tpacket_req, tpacket2_hdr};
use nix::net::if_::if_nametoindex;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use socket2::{SockFilter, SockRef};

use super::Stamp;

/// Bytes of a packet that are kept: the longest IP and TCP headers fit.
const KEPT: u32 = 128;
/// One frame: its header, the address, alignment, and what is kept.
const FRAME: usize = 256;
const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 256;
const FRAMES: usize = BLOCK / FRAME * BLOCKS;

/// The ring: room for 65 536 packets.
#[derive(Debug)]
pub(super) struct Ring {
    socket: OwnedFd,
    base: NonNull<c_void>,
    next: usize,
}

// SAFETY: `base` is a mapping of this ring alone, used through `&mut self` only.
unsafe impl Send for Ring {}

impl Ring {
    /// Begins to record the loopback interface's traffic. Needs CAP_NET_RAW in
    /// the network namespace.
    pub(super) fn open() -> io::Result<Self> {
        // SAFETY: no pointers; a negative result is checked before it is owned.
        let fd = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                0, // nothing is received until the bind below
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor just opened that nothing else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };

        let version = libc::tpacket_versions::TPACKET_V2 as c_int;
        set(&socket, libc::PACKET_VERSION, &version)?;
        // On loopback each packet passes twice; the arriving one is enough.
        set(&socket, libc::PACKET_IGNORE_OUTGOING, &1)?;
        let keep = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, KEPT);
        SockRef::from(&socket).attach_filter(&[keep])?;
        let request = tpacket_req {
            tp_block_size: BLOCK as u32,
            tp_block_nr: BLOCKS as u32,
            tp_frame_size: FRAME as u32,
            tp_frame_nr: FRAMES as u32,
        };
        set(&socket, libc::PACKET_RX_RING, &request)?;

        let length = NonZeroUsize::new(BLOCK * BLOCKS).expect("the ring has a size");
        // SAFETY: a new shared mapping of exactly the ring just asked for; it is
        // unmapped in `drop` and nowhere else.
        let base = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                &socket,
                0,
            )?
        };
        let ring = Self {
            socket,
            base,
            next: 0,
        };
        ring.bind()?;
        Ok(ring)
    }

    fn bind(&self) -> io::Result<()> {
        let index = if_nametoindex("lo")?;
        // SAFETY: `sockaddr_ll` is plain integers; all zeroes is a value of it.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index as c_int;
        // SAFETY: `address` is a whole sockaddr_ll and outlives the call.
        let result = unsafe {
            libc::bind(
                self.socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as socklen_t,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Hands each packet that has arrived to `each`, oldest first: when, the kept
    /// bytes from the IP header on, and the whole length.
    pub(super) fn drain(&mut self, mut each: impl FnMut(Stamp, &[u8], usize)) {
        // One round at most, so that a flood cannot hold us here.
        for _ in 0..FRAMES {
            // SAFETY: `next` < FRAMES, so the frame lies inside the mapping.
            let frame = unsafe { self.base.cast::<u8>().add(self.next * FRAME) };
            // SAFETY: frames are aligned to 256 bytes, `tp_status` is a u32 within,
            // and the kernel writes it as one word.
            let status = unsafe {
                frame
                    .add(offset_of!(tpacket2_hdr, tp_status))
                    .cast::<AtomicU32>()
                    .as_ref()
            };
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return;
            }
            // SAFETY: TP_STATUS_USER says the frame is ours until we give it back;
            // its head is a tpacket2_hdr, all integers.
            let header = unsafe { frame.cast::<tpacket2_hdr>().read() };
            let (offset, kept) = (usize::from(header.tp_net), header.tp_snaplen as usize);
            if offset.checked_add(kept).is_some_and(|end| end <= FRAME) {
                // SAFETY: the range was just checked to lie inside the frame, which
                // is ours until the status is written below.
                let bytes = unsafe { std::slice::from_raw_parts(frame.as_ptr().add(offset), kept) };
                let at = Stamp::from_parts(header.tp_sec, header.tp_nsec);
                each(at, bytes, header.tp_len as usize);
            }
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % FRAMES;
        }
    }

    /// Packets that found no room since the last call.
    pub(super) fn dropped(&self) -> io::Result<u32> {
        let mut stats = libc::tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        let mut len = size_of::<libc::tpacket_stats>() as socklen_t;
        // SAFETY: the kernel writes at most `len` bytes into `stats`.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &mut len,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stats.tp_drops)
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `open`, which nothing borrows any more.
        // A failure would leave memory mapped, which harms nobody.
        let _ = unsafe { munmap(self.base, BLOCK * BLOCKS) };
    }
}

fn set<T>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `value`; T is one of the
    // integers and structs that packet(7) names for `option`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
