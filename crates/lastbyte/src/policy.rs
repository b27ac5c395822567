//! What a close is asked to do, beyond the three combinations of `struct linger`.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use crate::linger::Linger;
use crate::sys::AsSocket;

mod name;
#[cfg(test)]
mod samples;
#[cfg(feature = "serde")]
mod serde;
#[cfg(test)]
mod tests;
mod text;
mod values;

pub use values::PolicyError;

/// Says how a connection is to be ended: a [`Linger`] and its refinements.
///
/// The linger option decides the outline; the refinements are what `struct linger` has
/// no room for. A plain [`Linger`] converts into a `Policy`. Each refinement has a
/// setter `with_NAME` and a getter `NAME`.
///
/// ```
/// use std::time::Duration;
/// use lastbyte::{Linger, Policy};
///
/// let plain: Policy = Linger::Wait(Duration::from_secs(5)).into();
/// let careful = Policy::wait(Duration::from_secs(30))
///     .with_stall(Duration::from_secs(5)) // … but give up after 5 s without progress
///     .with_confirm(true)                 // and wait for the peer to close as well
///     .with_drain_bytes(1 << 20);         // discarding at most 1 MiB of late input
/// assert_eq!(careful.linger(), Linger::Wait(Duration::from_secs(30)));
/// assert_eq!(careful.stall(), Some(Duration::from_secs(5)));
/// # let _ = plain;
/// ```
///
/// It can be read from a configuration file: as text, `"wait 30s, stall=5s"` (`FromStr`),
/// or with feature `serde` as a map of those names.
///
/// # Which refinement applies where
///
/// Text with a refinement that has no effect is refused; a program can have its own
/// policies [checked](Self::check).
///
/// | refinement | `Off` | `Abort` | `Wait`, `Endless` |
/// |---|---|---|---|
/// | [`stall`](Self::with_stall) | yes; two minutes unless set | no effect: it does not wait | yes |
/// | [`confirm`](Self::with_confirm) | where the report is awaited¹ | no effect | yes |
/// | [`drain_bytes`](Self::with_drain_bytes), [`drain_time`](Self::with_drain_time) | yes | no effect: the RST answers late input | yes |
/// | [`time_wait`](Self::with_time_wait) | yes | no effect: there is none after an RST | yes |
/// | [`shut_down`](Self::with_shut_down) | yes | yes: it is in the counts | yes |
/// | [`receipt`](Self::with_receipt) | in a [`Closer`](crate::Closer); elsewhere the connection is held as without it | no effect | no effect: a wait needs the connection |
///
/// ¹ [`close`](crate::close()) with `Off` returns before it is known; the
/// [report hook](crate::on_report()) gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    linger: Linger,
    stall: Option<Duration>,
    confirm: bool,
    drain_bytes: u64,
    drain_time: Option<Duration>,
    time_wait: bool,
    shut: Shut,
    receipt: bool,
}

/// `Option<Shutdown>`, which has no `Hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shut {
    Neither,
    Read,
    Write,
    Both,
}

impl Policy {
    /// The bytes of input that a close discards at most, unless
    /// [`with_drain_bytes`](Self::with_drain_bytes) sets another number: 64 MiB.
    pub const DRAIN_BYTES: u64 = 64 << 20;
    /// The time for which a connection is held after delivery, unless
    /// [`with_drain_time`](Self::with_drain_time) sets another: 10 s.
    pub const DRAIN_TIME: Duration = Duration::from_secs(10);
    /// The shortest stall time: 10 ms. [`with_stall`](Self::with_stall) takes shorter
    /// ones for this.
    pub const SHORTEST_STALL: Duration = Duration::from_millis(10);

    /// Makes a policy that ends connections as `linger` says, with the default
    /// refinements.
    #[must_use]
    #[doc(alias = "SO_LINGER")]
    pub const fn new(linger: Linger) -> Self {
        Self {
            linger,
            stall: None,
            confirm: false,
            drain_bytes: Self::DRAIN_BYTES,
            drain_time: None,
            time_wait: true,
            shut: Shut::Neither,
            receipt: false,
        }
    }

    /// Makes a policy of [`Linger::Off`]: a close returns at once, and the data is
    /// delivered in the background.
    #[must_use]
    #[doc(alias = "SO_DONTLINGER")]
    pub const fn off() -> Self {
        Self::new(Linger::Off)
    }

    /// Makes a policy of [`Linger::Abort`]: a close resets the connection and discards
    /// what is queued.
    #[must_use]
    #[doc(alias("RST", "reset"))]
    pub const fn abort() -> Self {
        Self::new(Linger::Abort)
    }

    /// Makes a policy of [`Linger::Wait`]: a close waits up to `time` until data and FIN
    /// are acknowledged.
    #[must_use]
    #[doc(alias = "graceful")]
    pub const fn wait(time: Duration) -> Self {
        Self::new(Linger::Wait(time))
    }

    /// Reads the policy from the socket's own `SO_LINGER`.
    ///
    /// # Errors
    /// Those of [`Linger::of`].
    #[doc(alias = "SO_LINGER")]
    pub fn from_socket(socket: &impl AsSocket) -> io::Result<Self> {
        Linger::of(socket).map(Self::new)
    }

    /// Sets the linger option that this policy refines.
    #[must_use]
    pub const fn with_linger(mut self, linger: Linger) -> Self {
        self.linger = linger;
        self
    }

    /// Gives up (fate `stalled`) when the peer has acknowledged nothing new for
    /// `time` while bytes are outstanding. Unset by default.
    ///
    /// It is a deadline for progress beside the absolute one: a slow peer that keeps
    /// reading is not cut, and a dead one does not hold the full time. A stall is
    /// noticed between `time` and 1.25 × `time` after the last progress. Values
    /// below [10 ms](Self::SHORTEST_STALL) are taken as 10 ms.
    ///
    /// It has no effect with [`Linger::Abort`].
    #[must_use]
    pub const fn with_stall(mut self, time: Duration) -> Self {
        self.stall = Some(if time.as_nanos() < Self::SHORTEST_STALL.as_nanos() {
            Self::SHORTEST_STALL
        } else {
            time
        });
        self
    }

    /// Sets whether a close, after delivery, also waits for the peer to close its side
    /// (its FIN), and then reports `confirmed`. Unset by default.
    ///
    /// An acknowledgement tells what the peer's TCP has, not what its program
    /// read. A FIN that comes after ours is the program's own answer. Where the
    /// deadline passes first, the fate is `timed_out` with nothing lost, and no
    /// RST is sent.
    ///
    /// With [`Linger::Off`], which has no deadline, the peer's close is awaited for
    /// the [stall time](Self::with_stall), or two minutes, after delivery. It has no
    /// effect with [`Linger::Abort`].
    #[must_use]
    pub const fn with_confirm(mut self, confirm: bool) -> Self {
        self.confirm = confirm;
        self
    }

    /// Sets how many bytes of input that nobody will read are discarded at most:
    /// [`DRAIN_BYTES`](Self::DRAIN_BYTES) by default.
    ///
    /// Discarding keeps the connection alive: closing with unread input makes
    /// TCP send an RST and lose the send queue (RFC 2525 §2.17). Beyond the
    /// bound nothing more is read, which stops the peer by flow control; what we
    /// queued still goes out first.
    ///
    /// It has no effect with [`Linger::Abort`].
    #[must_use]
    pub const fn with_drain_bytes(mut self, bytes: u64) -> Self {
        self.drain_bytes = bytes;
        self
    }

    /// Holds the connection for `time` after delivery, until the peer closes,
    /// and discards what it still sends (RFC 9112 §9.6, "lingering close"). With zero
    /// the descriptor is closed at delivery.
    ///
    /// A peer that sends after our descriptor is gone is reset, and outside Linux
    /// that may take with it what it has received and not read. Unless set, a
    /// close with [`Linger::Off`] holds for [`DRAIN_TIME`](Self::DRAIN_TIME), and
    /// one with [`Linger::Wait`] only where the peer has been sending since the
    /// close began or input was unread. Set it for a protocol in which the peer
    /// may begin to send late: a server that answers before it has read the
    /// request.
    ///
    /// It has no effect with [`Linger::Abort`].
    #[must_use]
    #[doc(alias("lingering close", "lingering_close", "lingering_timeout"))]
    pub const fn with_drain_time(mut self, time: Duration) -> Self {
        self.drain_time = Some(time);
        self
    }

    /// Sets whether the connection may pass through TIME_WAIT on this host: `true` by
    /// default. With `false`, once everything is acknowledged, a close ends with an RST
    /// where the peer has not closed yet.
    ///
    /// The price of `false`: the peer's later writes fail with ECONNRESET, outside Linux
    /// its unread input may be thrown away (RFC 9112 §9.6), and the quiet time
    /// that TIME_WAIT gives a port is skipped (RFC 1337). If the peer's FIN came
    /// with the last ACK, or is awaited by [`confirm`](Self::with_confirm), TIME_WAIT
    /// has begun and stays.
    ///
    /// It has no effect with [`Linger::Abort`], which never leaves one.
    #[must_use]
    #[doc(alias = "TIME_WAIT")]
    pub const fn with_time_wait(mut self, time_wait: bool) -> Self {
        self.time_wait = time_wait;
        self
    }

    /// States which sides of the connection the program has already shut down itself.
    /// A later call replaces an earlier one.
    ///
    /// Needed only for exact counts of a connection that is gone before the close
    /// begins: it no longer shows whether a FIN was in its send queue, and the FIN
    /// counts there like one byte. While the connection lives, its state shows it.
    ///
    /// - [`Shutdown::Write`]: the sending side, and the reading side is open. Without
    ///   this word, a connection that is gone without an error, all of it acknowledged
    ///   and the peer's FIN received, is taken for one that ended well. That is wrong
    ///   only where a reset came after the peer's FIN and the program has read its error
    ///   itself.
    /// - [`Shutdown::Both`]: a connection that was reset is then called `reset` only
    ///   where no data ever came: input for a reading side that is shut down makes this
    ///   host send the RST, and the kernel gives the same error for both.
    /// - [`Shutdown::Read`] changes nothing: without a FIN of ours Linux resets no
    ///   connection for input.
    #[must_use]
    #[doc(alias("half-close", "SHUT_WR", "SHUT_RDWR"))]
    pub const fn with_shut_down(mut self, how: Shutdown) -> Self {
        self.shut = match how {
            Shutdown::Read => Shut::Read,
            Shutdown::Write => Shut::Write,
            Shutdown::Both => Shut::Both,
        };
        self
    }

    /// Sets whether a [`Closer`](crate::Closer), with [`Linger::Off`], closes the
    /// descriptor at once and learns the fate from the kernel's notice of the
    /// connection's end. Unset by default.
    ///
    /// It is nearly as cheap as close(2), no descriptor is held, and the report still
    /// comes. The price: nobody discards late input, so this is for peers that
    /// send nothing any more (a peer that does is reset, and what was not
    /// acknowledged is lost; the report says so). The report has the notice's
    /// counters, which give no reason: where something was not acknowledged the fate
    /// is `failed` without an error, whether the peer reset the connection or the
    /// kernel gave it up; what was discarded unread is `None`.
    ///
    /// Where input is unread already, urgent data included, or the kernel's notices
    /// cannot be had, the connection is held as without this; so is one of another
    /// network namespace than that of the closer's thread, and any on Linux before 5.14,
    /// which does not tell namespaces apart, and one whose SYN is not answered yet, which
    /// then has the [stall time](Self::with_stall), or two minutes. A connection that another process, or a
    /// duplicate of the descriptor, keeps open gives no notice until that is closed
    /// too: after 20 minutes it is reported `detached`, with no counts.
    ///
    /// It has no effect with another linger option, nor in a form of close other than
    /// [`Closer`](crate::Closer): the connection is held there as without it.
    #[must_use]
    pub const fn with_receipt(mut self, receipt: bool) -> Self {
        self.receipt = receipt;
        self
    }

    /// Returns the linger option that this policy refines.
    #[must_use]
    pub const fn linger(&self) -> Linger {
        self.linger
    }

    /// Returns the deadline for progress, if one was set: 10 ms or longer.
    #[must_use]
    pub const fn stall(&self) -> Option<Duration> {
        self.stall
    }

    /// Returns whether a close waits for the peer's own close too.
    #[must_use]
    pub const fn confirm(&self) -> bool {
        self.confirm
    }

    /// Returns how many bytes of input may be discarded.
    #[must_use]
    pub const fn drain_bytes(&self) -> u64 {
        self.drain_bytes
    }

    /// Returns how long the connection is held after delivery, if that was set; `None`
    /// means [`DRAIN_TIME`](Self::DRAIN_TIME), where it is held at all.
    #[must_use]
    pub const fn drain_time(&self) -> Option<Duration> {
        self.drain_time
    }

    /// Returns whether the connection may pass through TIME_WAIT.
    #[must_use]
    pub const fn time_wait(&self) -> bool {
        self.time_wait
    }

    /// Returns which sides the program has shut down itself, if it has said so.
    #[must_use]
    pub const fn shut_down(&self) -> Option<Shutdown> {
        match self.shut {
            Shut::Neither => None,
            Shut::Read => Some(Shutdown::Read),
            Shut::Write => Some(Shutdown::Write),
            Shut::Both => Some(Shutdown::Both),
        }
    }

    /// Returns whether the fate is to be learned from the kernel's notice. That is done
    /// by a [`Closer`](crate::Closer) and with [`Linger::Off`] only.
    #[must_use]
    pub const fn receipt(&self) -> bool {
        self.receipt
    }
}

impl Policy {
    /// Returns how long the connection is held after delivery.
    pub(crate) const fn hold_time(&self) -> Duration {
        match self.drain_time {
            Some(time) => time,
            None => Self::DRAIN_TIME,
        }
    }

    /// Returns whether it is held even if the peer has sent nothing since the close
    /// began.
    pub(crate) const fn holds_quiet(&self) -> bool {
        self.drain_time.is_some() || matches!(self.linger, Linger::Off)
    }

    /// Holds a quiet peer too, for the default time unless another was set: for
    /// servers, whose clients may begin to send late.
    #[cfg(feature = "tokio")]
    pub(crate) const fn held(self) -> Self {
        match self.drain_time {
            Some(_) => self,
            None => self.with_drain_time(Self::DRAIN_TIME),
        }
    }

    /// Returns whether the program has shut down its sending side, and that alone.
    pub(crate) const fn is_half_closed(&self) -> bool {
        matches!(self.shut, Shut::Write)
    }

    /// Returns whether the program has shut down its sending side, by its own word.
    pub(crate) const fn has_sent_fin(&self) -> bool {
        matches!(self.shut, Shut::Write | Shut::Both)
    }

    /// Adds that the program has shut down its sending side.
    #[cfg(feature = "tokio")]
    pub(crate) const fn and_sending_shut_down(self) -> Self {
        match self.shut {
            Shut::Neither | Shut::Write => self.with_shut_down(Shutdown::Write),
            Shut::Read | Shut::Both => self.with_shut_down(Shutdown::Both),
        }
    }

    /// Returns whether the kernel closes the connection and its notice gives the report.
    pub(crate) const fn is_by_receipt(&self) -> bool {
        self.receipt && matches!(self.linger, Linger::Off)
    }
}

impl Default for Policy {
    /// Makes [`Policy::off`], as a fresh socket is.
    fn default() -> Self {
        Self::off()
    }
}

impl From<Linger> for Policy {
    fn from(linger: Linger) -> Self {
        Self::new(linger)
    }
}
