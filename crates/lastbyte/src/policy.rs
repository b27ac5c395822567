//! What a close is asked to do, beyond the three combinations of `struct linger`.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::linger::Linger;

/// How a connection is to be ended.
///
/// The linger option decides the outline; the rest are refinements that
/// `struct linger` has no room for. A plain [`Linger`] converts into a `Policy`.
///
/// ```
/// use std::time::Duration;
/// use lastbyte::{Linger, Policy};
///
/// let plain: Policy = Linger::Wait(Duration::from_secs(5)).into();
/// let careful = Policy::wait(Duration::from_secs(30))
///     .stall(Duration::from_secs(5)) // … but give up after 5 s without progress
///     .confirm()                     // and wait for the peer to close as well
///     .drain(1 << 20);               // discarding at most 1 MiB of late input
/// assert_eq!(careful.linger(), Linger::Wait(Duration::from_secs(30)));
/// # let _ = plain;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    linger: Linger,
    stall: Option<Duration>,
    confirm: bool,
    drain_bytes: u64,
    drain_time: Option<Duration>,
    time_wait: bool,
    half_closed: bool,
    shut_down: bool,
    by_receipt: bool,
}

impl Policy {
    /// Input discarded at most, where [`drain`](Self::drain) does not say: 64 MiB.
    pub const DRAIN_BYTES: u64 = 64 << 20;
    /// Time that a connection is held after delivery, where
    /// [`drain_for`](Self::drain_for) does not say: 10 s.
    pub const DRAIN_TIME: Duration = Duration::from_secs(10);

    /// Ends connections as `linger` says, with the default refinements.
    #[must_use]
    pub const fn new(linger: Linger) -> Self {
        Self {
            linger,
            stall: None,
            confirm: false,
            drain_bytes: Self::DRAIN_BYTES,
            drain_time: None,
            time_wait: true,
            half_closed: false,
            shut_down: false,
            by_receipt: false,
        }
    }

    /// [`Linger::Off`]: return at once, deliver in the background.
    #[must_use]
    pub const fn off() -> Self {
        Self::new(Linger::Off)
    }

    /// [`Linger::Abort`]: reset, and discard what is queued.
    #[must_use]
    pub const fn abort() -> Self {
        Self::new(Linger::Abort)
    }

    /// [`Linger::Wait`]: wait until data and FIN are acknowledged, `time` at most.
    #[must_use]
    pub const fn wait(time: Duration) -> Self {
        Self::new(Linger::Wait(time))
    }

    /// What the socket's own `SO_LINGER` says.
    ///
    /// # Errors
    /// Those of [`Linger::of`].
    pub fn from_socket(socket: &impl AsFd) -> io::Result<Self> {
        Linger::of(socket).map(Self::new)
    }

    /// Gives up (fate `stalled`) when the peer has acknowledged nothing new for
    /// this long while bytes are outstanding.
    ///
    /// A progress deadline beside the absolute one: a slow peer that keeps
    /// reading is not cut, a dead one does not hold the full time. A stall is
    /// noticed between `time` and 1.25 × `time` after the last progress. Values
    /// below 10 ms are taken as 10 ms.
    #[must_use]
    pub const fn stall(mut self, time: Duration) -> Self {
        self.stall = Some(if time.as_millis() < 10 {
            Duration::from_millis(10)
        } else {
            time
        });
        self
    }

    /// After delivery, also waits for the peer to close its side (its FIN), and
    /// then says `confirmed`.
    ///
    /// An acknowledgement tells what the peer's TCP has, not what its program
    /// read. A FIN that comes after ours is the program's own answer. Where the
    /// deadline passes first the fate is `timed_out` with nothing lost, and no
    /// RST is sent.
    ///
    /// With [`Linger::Off`], which has no deadline, the peer's close is awaited for
    /// the [stall time](Self::stall), or two minutes, after delivery.
    #[must_use]
    pub const fn confirm(mut self) -> Self {
        self.confirm = true;
        self
    }

    /// Discards at most this many bytes of input that nobody will read.
    ///
    /// Discarding keeps the connection alive: closing with unread input makes
    /// TCP send an RST and lose the send queue (RFC 2525 §2.17). Beyond the
    /// bound nothing more is read, which stops the peer by flow control; what we
    /// queued still goes out first.
    #[must_use]
    pub const fn drain(mut self, bytes: u64) -> Self {
        self.drain_bytes = bytes;
        self
    }

    /// Holds the connection for this long after delivery, until the peer closes,
    /// and discards what it still sends (RFC 9112 §9.6, "lingering close"). Zero:
    /// closes at delivery.
    ///
    /// A peer that sends after our descriptor is gone is reset, and outside Linux
    /// that may take with it what it has received and not read. Unless set, a
    /// close with [`Linger::Off`] holds for [`DRAIN_TIME`](Self::DRAIN_TIME), and
    /// one with [`Linger::Wait`] only where the peer has been sending since the
    /// close began or input was unread. Set it for a protocol in which the peer
    /// may begin to send late: a server that answers before it has read the
    /// request.
    #[must_use]
    pub const fn drain_for(mut self, time: Duration) -> Self {
        self.drain_time = Some(time);
        self
    }

    /// Holds a quiet peer too, for the default time unless another was set: for
    /// servers, whose clients may begin to send late.
    #[cfg(feature = "tokio")]
    pub(crate) const fn held(self) -> Self {
        match self.drain_time {
            Some(_) => self,
            None => self.drain_for(Self::DRAIN_TIME),
        }
    }

    /// Once everything is acknowledged, ends with an RST instead of TIME_WAIT,
    /// where the peer has not closed yet.
    ///
    /// The price: the peer's later writes fail with ECONNRESET, outside Linux
    /// its unread input may be thrown away (RFC 9112 §9.6), and the quiet time
    /// that TIME_WAIT gives a port is skipped (RFC 1337). If the peer's FIN came
    /// with the last ACK, TIME_WAIT has begun and stays.
    #[must_use]
    pub const fn without_time_wait(mut self) -> Self {
        self.time_wait = false;
        self
    }

    /// Says that the program has already shut down its sending side itself, and has
    /// left its reading side open.
    ///
    /// Needed only for exact counts of a connection that is gone before the close
    /// begins: it no longer shows whether a FIN was in its send queue, and the FIN
    /// counts there like one byte. While the connection lives, its state tells.
    ///
    /// Without this word, one that is gone without an error, all of it
    /// acknowledged and the peer's FIN received, is taken for one that ended well.
    /// That is wrong only where a reset came after the peer's FIN and the program
    /// has read its error itself.
    #[must_use]
    pub const fn half_closed(mut self) -> Self {
        self.half_closed = true;
        self
    }

    /// Says that the program has already shut down both sides itself (SHUT_RDWR).
    ///
    /// As [`half_closed`](Self::half_closed), this is needed only for a connection that
    /// is gone before the close begins. One that was reset is then called `reset` only
    /// where no data ever came: input for a reading side that is shut down makes this
    /// host send the RST, and the kernel gives the same error for both.
    #[must_use]
    pub const fn shut_down(mut self) -> Self {
        self.shut_down = true;
        self
    }

    /// With [`Linger::Off`] in a [`Closer`](crate::Closer): closes the descriptor
    /// at once and learns the fate from the kernel's notice of the connection's
    /// end.
    ///
    /// Nearly as cheap as close(2), no descriptor is held, and the report still
    /// comes. The price: nobody discards late input, so this is for peers that
    /// send nothing any more (a peer that does is reset, and what was not
    /// acknowledged is lost; the report says so). The report has the notice's
    /// counters, which give no reason: where something was not acknowledged the fate
    /// is `failed` without an error, whether the peer reset the connection or the
    /// kernel gave it up; what was discarded unread is `None`.
    ///
    /// Where input is unread already, urgent data included, or the kernel's notices
    /// cannot be had, the connection is held as ever; so is one of another network
    /// namespace than that of the closer's thread, and any on Linux before 5.14,
    /// which does not tell namespaces apart. A connection that another process, or a
    /// duplicate of the descriptor, keeps open gives no notice until that is closed
    /// too: after 20 minutes it is reported `detached`, with no counts.
    #[must_use]
    pub const fn by_receipt(mut self) -> Self {
        self.by_receipt = true;
        self
    }

    /// The linger option this policy refines.
    #[must_use]
    pub const fn linger(&self) -> Linger {
        self.linger
    }

    /// The progress deadline, if any.
    #[must_use]
    pub const fn stall_time(&self) -> Option<Duration> {
        self.stall
    }

    /// Whether the peer's own close is waited for.
    #[must_use]
    pub const fn confirms(&self) -> bool {
        self.confirm
    }

    /// Bytes of input that may be discarded.
    #[must_use]
    pub const fn drain_bytes(&self) -> u64 {
        self.drain_bytes
    }

    /// How long the connection is held after delivery.
    #[must_use]
    pub const fn drain_time(&self) -> Duration {
        match self.drain_time {
            Some(time) => time,
            None => Self::DRAIN_TIME,
        }
    }

    /// Whether it is held even if the peer has sent nothing since the close
    /// began.
    #[must_use]
    pub const fn holds_quiet(&self) -> bool {
        self.drain_time.is_some() || matches!(self.linger, Linger::Off)
    }

    /// Whether the program said that it shut down its sending side itself.
    #[must_use]
    pub const fn is_half_closed(&self) -> bool {
        self.half_closed
    }

    /// Whether the program has shut down both sides itself.
    #[must_use]
    pub const fn is_shut_down(&self) -> bool {
        self.shut_down
    }

    /// Whether the fate is to be learned from the kernel's notice.
    #[must_use]
    pub const fn is_by_receipt(&self) -> bool {
        self.by_receipt && matches!(self.linger, Linger::Off)
    }

    /// Whether the connection is left to pass through TIME_WAIT.
    #[must_use]
    pub const fn keeps_time_wait(&self) -> bool {
        self.time_wait
    }
}

impl Default for Policy {
    /// [`Policy::off`], as a fresh socket is.
    fn default() -> Self {
        Self::off()
    }
}

impl From<Linger> for Policy {
    fn from(linger: Linger) -> Self {
        Self::new(linger)
    }
}
