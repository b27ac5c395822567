//! The option itself: `struct linger`, its units, and what each platform can hold.
//!
//! [`Linger`] is what a program means; [`RawLinger`] is the pair of integers a
//! kernel stores; [`LingerForm`] says how one kernel counts and how far.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::sys::{self, AsSocket, BorrowedSocket, HasSocket};

/// Says what a close is to do: the three combinations of `struct linger`, and the one
/// that only a mistake produces.
///
/// Sources: POSIX.1-2024 *XSH 2.10.16* (`SO_LINGER`), [socket(7)], Stevens,
/// *UNIX Network Programming* vol. 1, §7.5.
///
/// [socket(7)]: https://man7.org/linux/man-pages/man7/socket.7.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[doc(alias("SO_LINGER", "l_onoff", "l_linger"))]
pub enum Linger {
    /// `l_onoff = 0`: return at once, deliver in the background. What a fresh
    /// socket says.
    #[default]
    Off,
    /// `l_onoff ≠ 0, l_linger = 0`: reset the connection, discard what is queued,
    /// leave no TIME_WAIT.
    Abort,
    /// `l_onoff ≠ 0, l_linger > 0`: wait this long for data and FIN to be
    /// acknowledged.
    ///
    /// lastbyte keeps the time to the millisecond. In a raw option a fraction of
    /// a unit is rounded *up*, so that no wait ever turns into [`Linger::Abort`].
    ///
    /// Zero is a wait whose time is over when it begins: what is not acknowledged by
    /// then is lost, and the fate is `timed_out`. No option can hold it, so it is
    /// refused there.
    Wait(Duration),
    /// A negative `l_linger` that another program left on the socket.
    ///
    /// Linux accepts it and waits without limit (`MAX_SCHEDULE_TIMEOUT`,
    /// net/core/sock.c); lastbyte treats it as a wait with no deadline. It can
    /// be read from a socket but not be set on one.
    Endless {
        /// `l_linger` as the kernel returns it, which need not be the number
        /// that was set: Linux 6.18 with 250 Hz answers −1752346657 to −1.
        l_linger: i32,
    },
}

impl Linger {
    /// Reads the linger option that `socket` carries now.
    ///
    /// Works on any socket, whatever its protocol. Linux reports a stale
    /// `l_linger` beside `l_onoff = 0`; that is [`Linger::Off`].
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use lastbyte::Linger;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert_eq!(Linger::of(&listener)?, Linger::Off);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [getsockopt(2)]: `EBADF`, `ENOTSOCK`.
    ///
    /// [getsockopt(2)]: https://man7.org/linux/man-pages/man2/getsockopt.2.html
    #[doc(alias("getsockopt", "linger"))]
    pub fn of(socket: &impl AsSocket) -> io::Result<Linger> {
        sys::linger(socket.borrowed()).map(|raw| LingerForm::NATIVE.linger(raw))
    }

    /// Sets this option on `socket`, and returns what the socket now holds:
    /// `self`, with a fraction of a second rounded up.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use std::time::Duration;
    /// use lastbyte::Linger;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let held = Linger::Wait(Duration::from_millis(500)).set(&listener)?;
    /// assert_eq!(held, Linger::Wait(Duration::from_secs(1)));
    /// assert_eq!(Linger::of(&listener)?, held);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` with a [`LingerRangeError`] inside when this platform
    /// cannot hold the value, and then the socket is left as it was; else those
    /// of [setsockopt(2)].
    ///
    /// [setsockopt(2)]: https://man7.org/linux/man-pages/man2/setsockopt.2.html
    #[doc(alias("setsockopt", "set_linger"))]
    pub fn set(self, socket: &impl AsSocket) -> io::Result<Linger> {
        let form = LingerForm::NATIVE;
        let raw = form
            .raw(self)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        put(socket.borrowed(), raw)?;
        Ok(form.linger(raw))
    }

    /// Returns what Winsock calls `SO_DONTLINGER`: whether linger is off on `socket`. It is the
    /// same option as `SO_LINGER`, read the other way round, on every system.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    #[doc(alias("SO_DONTLINGER", "getsockopt"))]
    pub fn dont_linger(socket: &impl AsSocket) -> io::Result<bool> {
        Ok(Self::of(socket)? == Linger::Off)
    }

    /// Sets what Winsock calls `SO_DONTLINGER`. With `true` linger is off afterwards, whatever it
    /// was; with `false` it is on with the time that it has.
    ///
    /// The option itself has a trap: setting it to FALSE keeps no time, and leaves linger on with
    /// 0 behind, so that the next closesocket resets the connection. This function never does
    /// that.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use std::time::Duration;
    /// use lastbyte::Linger;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let wait = Linger::Wait(Duration::from_secs(5)).set(&listener)?;
    /// Linger::set_dont_linger(&listener, false)?;
    /// assert_eq!(Linger::of(&listener)?, wait);
    /// Linger::set_dont_linger(&listener, true)?;
    /// assert_eq!(Linger::of(&listener)?, Linger::Off);
    /// // Off, it has no time to wait for: `Linger::set` gives it one.
    /// assert!(Linger::set_dont_linger(&listener, false).is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for `false` where linger is off; the option stays as it was. Else as
    /// [`of`](Self::of).
    #[doc(alias("SO_DONTLINGER", "setsockopt"))]
    pub fn set_dont_linger(socket: &impl AsSocket, dont_linger: bool) -> io::Result<()> {
        if dont_linger {
            return Linger::Off.set(socket).map(drop);
        }
        if Self::dont_linger(socket)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "linger is off and has no time to wait for; set one with Linger::set",
            ));
        }
        Ok(())
    }

    /// Returns how long a close under this option may wait; `None` where it does not
    /// wait at all or has no deadline.
    #[must_use]
    pub const fn deadline(self) -> Option<Duration> {
        match self {
            Linger::Wait(time) => Some(time),
            Linger::Off | Linger::Abort | Linger::Endless { .. } => None,
        }
    }
}

/// The longest `l_linger` that no Linux kernel wraps: until some release after 5.10
/// the time was kept as 32 bits of jiffies, of which there are at most 1000 a second.
const NEVER_WRAPPED: i32 = (u32::MAX / 1000) as i32;

/// Sets the option. A kernel that takes a long time and keeps a shorter one gets its
/// former option back.
fn put(socket: BorrowedSocket<'_>, raw: RawLinger) -> io::Result<()> {
    if raw.l_linger <= NEVER_WRAPPED {
        return sys::set_linger(socket, raw);
    }
    let before = sys::linger(socket)?;
    sys::set_linger(socket, raw)?;
    let kept = sys::linger(socket)?;
    if kept == raw {
        return Ok(());
    }
    sys::set_linger(socket, before)?;
    let form = LingerForm::NATIVE;
    let error = LingerRangeError {
        linger: form.linger(raw),
        form,
        kept: Some(form.linger(kept)),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, error))
}

impl fmt::Display for Linger {
    /// `off`, `abort`, `wait 5s`, `endless (l_linger -1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Linger::Off => f.write_str("off"),
            Linger::Abort => f.write_str("abort"),
            Linger::Wait(time) => write!(f, "wait {time:?}"),
            Linger::Endless { l_linger } => write!(f, "endless (l_linger {l_linger})"),
        }
    }
}

/// Holds `struct linger` as it is: two integers and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct RawLinger {
    /// Zero means off, anything else on.
    pub l_onoff: i32,
    /// The time in seconds or ticks, as the [`LingerForm`] says; without meaning while off.
    pub l_linger: i32,
}

/// Says in which unit one platform's `struct linger` counts, and how far.
///
/// | form | unit | largest `l_linger` kept | source |
/// |---|---|---|---|
/// | [`LINUX`](Self::LINUX) | s | 2³¹−1 (64-bit), 2 147 483 (32-bit) | net/core/sock.c, `MAX_SCHEDULE_TIMEOUT / HZ` |
/// | [`POSIX`](Self::POSIX) | s | 2³¹−1 | POSIX.1-2024 XSH 2.10.16 |
/// | [`BSD44`](Self::BSD44) | 1/100 s | 32 767 | `so_linger` is a `short` |
/// | [`FREEBSD`](Self::FREEBSD) | s | 32 767 | `so_linger` is a `short`; up to 65 535 is accepted and then wraps |
/// | [`OPENBSD`](Self::OPENBSD) | s | 32 767 | uipc_socket.c |
/// | [`MACOS`](Self::MACOS) | 1/100 s | 32 767 | `SO_LINGER`, a `short` of ticks |
/// | [`MACOS_SEC`](Self::MACOS_SEC) | s | 327 | `SO_LINGER_SEC`: seconds × 100 stored in a `short` |
/// | [`WINDOWS`](Self::WINDOWS) | s | 65 535 | `u_short l_linger` |
///
/// ```
/// use std::time::Duration;
/// use lastbyte::{Linger, LingerForm, RawLinger};
///
/// let half = Linger::Wait(Duration::from_millis(500));
/// // 4.4BSD counts hundredths, so half a second is exact there …
/// assert_eq!(LingerForm::BSD44.raw(half), Ok(RawLinger { l_onoff: 1, l_linger: 50 }));
/// // … POSIX counts seconds: rounded up, never down to an abort.
/// assert_eq!(LingerForm::POSIX.raw(half), Ok(RawLinger { l_onoff: 1, l_linger: 1 }));
/// // What a platform would wrap is refused.
/// assert!(LingerForm::MACOS_SEC.raw(Linger::Wait(Duration::from_secs(16_384))).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LingerForm {
    name: &'static str,
    units_per_second: u32,
    max: i32,
}

impl LingerForm {
    /// The form of Linux: seconds (socket(7)).
    pub const LINUX: Self = Self::new(
        "Linux",
        1,
        if cfg!(target_pointer_width = "64") {
            i32::MAX
        } else {
            i32::MAX / 1000
        },
    );
    /// The form of POSIX: seconds in an `int`.
    pub const POSIX: Self = Self::new("Posix", 1, i32::MAX);
    /// The form of 4.4BSD: clock ticks of 1/100 s.
    pub const BSD44: Self = Self::new("4.4BSD", 100, i16::MAX as i32);
    /// The form of FreeBSD: seconds.
    pub const FREEBSD: Self = Self::new("FreeBSD", 1, i16::MAX as i32);
    /// The form of OpenBSD: seconds.
    pub const OPENBSD: Self = Self::new("OpenBSD", 1, i16::MAX as i32);
    /// The form of Apple's `SO_LINGER`: clock ticks of 1/100 s.
    pub const MACOS: Self = Self::new("macOS SO_LINGER", 100, i16::MAX as i32);
    /// The form of Apple's `SO_LINGER_SEC`: seconds.
    pub const MACOS_SEC: Self = Self::new("macOS SO_LINGER_SEC", 1, i16::MAX as i32 / 100);
    /// The form of Winsock: seconds in a `u_short`.
    pub const WINDOWS: Self = Self::new("Windows", 1, u16::MAX as i32);
    /// The form of the system this was compiled for.
    pub const NATIVE: Self = sys::LINGER_FORM;

    const fn new(name: &'static str, units_per_second: u32, max: i32) -> Self {
        Self {
            name,
            units_per_second,
            max,
        }
    }

    /// Returns what `raw` means under this form. It never fails: a negative `l_linger` is
    /// [`Linger::Endless`].
    #[must_use]
    pub const fn linger(self, raw: RawLinger) -> Linger {
        match raw {
            RawLinger { l_onoff: 0, .. } => Linger::Off,
            RawLinger { l_linger: 0, .. } => Linger::Abort,
            RawLinger { l_linger, .. } if l_linger < 0 => Linger::Endless { l_linger },
            RawLinger { l_linger, .. } => {
                let units = l_linger.unsigned_abs();
                let whole = (units / self.units_per_second) as u64;
                let nanos = units % self.units_per_second * (1_000_000_000 / self.units_per_second);
                Linger::Wait(Duration::new(whole, nanos))
            }
        }
    }

    /// Returns the integers for `linger` under this form. A fraction of a unit is
    /// rounded up, so a wait is at least one unit; a wait of zero is refused.
    ///
    /// # Errors
    /// [`LingerRangeError`] where the platform would wrap, clamp or reinterpret
    /// the value.
    pub fn raw(self, linger: Linger) -> Result<RawLinger, LingerRangeError> {
        let l_linger = match linger {
            Linger::Off => {
                return Ok(RawLinger {
                    l_onoff: 0,
                    l_linger: 0,
                });
            }
            Linger::Abort => 0,
            Linger::Wait(time) if time.is_zero() => {
                return Err(LingerRangeError::new(linger, self));
            }
            Linger::Wait(time) => {
                let unit = u128::from(1_000_000_000 / self.units_per_second);
                let units = time.as_nanos().div_ceil(unit);
                match i32::try_from(units) {
                    Ok(units) if units <= self.max => units,
                    _ => return Err(LingerRangeError::new(linger, self)),
                }
            }
            Linger::Endless { .. } => return Err(LingerRangeError::new(linger, self)),
        };
        Ok(RawLinger {
            l_onoff: 1,
            l_linger,
        })
    }

    /// Returns the longest wait that this form holds.
    #[must_use]
    pub const fn longest(self) -> Duration {
        Duration::from_millis(self.max as u64 * (1000 / self.units_per_second) as u64)
    }
}

/// Says that a platform's option cannot hold a linger value. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LingerRangeError {
    linger: Linger,
    form: LingerForm,
    /// What a kernel kept of a value that the form can hold.
    kept: Option<Linger>,
}

impl LingerRangeError {
    const fn new(linger: Linger, form: LingerForm) -> LingerRangeError {
        LingerRangeError {
            linger,
            form,
            kept: None,
        }
    }
}

impl fmt::Display for LingerRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { linger, form, kept } = self;
        if let Some(kept) = kept {
            return write!(f, "this kernel keeps {kept} of linger {linger}");
        }
        match linger {
            Linger::Endless { .. } => write!(
                f,
                "a negative l_linger has no defined meaning and is not set; \
                 use a wait of at most {:?}",
                form.longest()
            ),
            Linger::Wait(time) if time.is_zero() => {
                f.write_str("a wait of no time cannot be set: on and 0 is an abort")
            }
            _ => write!(
                f,
                "linger {linger} does not fit {}, whose longest wait is {:?}",
                form.name,
                form.longest()
            ),
        }
    }
}

impl std::error::Error for LingerRangeError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each system's manual and source say of its unit and its range.
    const FORMS: [(LingerForm, u32, i32, u64); 7] = [
        (LingerForm::POSIX, 1, 2_147_483_647, 2_147_483_647_000),
        (LingerForm::BSD44, 100, 32_767, 327_670),
        (LingerForm::FREEBSD, 1, 32_767, 32_767_000),
        (LingerForm::OPENBSD, 1, 32_767, 32_767_000),
        (LingerForm::MACOS, 100, 32_767, 327_670),
        (LingerForm::MACOS_SEC, 1, 327, 327_000),
        (LingerForm::WINDOWS, 1, 65_535, 65_535_000),
    ];

    #[test]
    fn the_longest_wait_fits_exactly_and_one_more_nanosecond_does_not() {
        for (form, _, max, millis) in FORMS {
            let longest = Duration::from_millis(millis);
            assert_eq!(form.longest(), longest, "{form:?}");
            let raw = RawLinger {
                l_onoff: 1,
                l_linger: max,
            };
            assert_eq!(form.raw(Linger::Wait(longest)), Ok(raw), "{form:?}");
            assert_eq!(form.linger(raw), Linger::Wait(longest), "{form:?}");
            let longer = Linger::Wait(longest + Duration::from_nanos(1));
            assert!(form.raw(longer).is_err(), "{form:?}");
        }
    }

    #[test]
    fn a_unit_is_a_unit_and_a_fraction_of_it_is_rounded_up() {
        for (form, per_second, ..) in FORMS {
            let unit = Duration::from_secs(1) / per_second;
            for (time, l_linger) in [
                (Duration::from_nanos(1), 1),
                (unit, 1),
                (unit + Duration::from_nanos(1), 2),
                (unit * 3, 3),
            ] {
                let raw = form.raw(Linger::Wait(time)).expect("it fits");
                assert_eq!(
                    (raw.l_onoff, raw.l_linger),
                    (1, l_linger),
                    "{form:?} {time:?}"
                );
                let back = Linger::Wait(unit * u32::try_from(l_linger).expect("small"));
                assert_eq!(form.linger(raw), back, "{form:?}");
            }
        }
    }

    /// The three combinations of the manual, and the one that only a mistake produces.
    #[test]
    fn both_integers_decide_what_an_option_means() {
        let form = LingerForm::POSIX;
        for (l_onoff, l_linger, means) in [
            (0, 0, Linger::Off),
            (0, 5, Linger::Off),
            (0, -1, Linger::Off),
            (1, 0, Linger::Abort),
            (-1, 0, Linger::Abort),
            (1, 1, Linger::Wait(Duration::from_secs(1))),
            (2, 90, Linger::Wait(Duration::from_secs(90))),
            (1, -1, Linger::Endless { l_linger: -1 }),
        ] {
            assert_eq!(form.linger(RawLinger { l_onoff, l_linger }), means);
        }
        let raw = |linger| form.raw(linger).map(|raw| (raw.l_onoff, raw.l_linger));
        assert_eq!(raw(Linger::Off), Ok((0, 0)));
        assert_eq!(raw(Linger::Abort), Ok((1, 0)));
        assert!(raw(Linger::Endless { l_linger: -1 }).is_err());
        assert!(raw(Linger::Wait(Duration::ZERO)).is_err(), "an abort");
    }

    #[test]
    fn only_a_wait_has_a_deadline() {
        let time = Duration::from_millis(1);
        assert_eq!(Linger::Wait(time).deadline(), Some(time));
        assert_eq!(Linger::Off.deadline(), None);
        assert_eq!(Linger::Abort.deadline(), None);
        assert_eq!(Linger::Endless { l_linger: -3 }.deadline(), None);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_reason() {
        let refusal = |form: LingerForm, linger| {
            let refused = form.raw(linger).expect_err("it does not fit");
            refused.to_string()
        };
        let long = refusal(
            LingerForm::WINDOWS,
            Linger::Wait(Duration::from_secs(65_536)),
        );
        assert!(long.contains("wait 65536s does not fit Windows"), "{long}");
        assert!(long.contains("65535s"), "{long}");
        let zero = refusal(LingerForm::POSIX, Linger::Wait(Duration::ZERO));
        assert!(zero.contains("on and 0 is an abort"), "{zero}");
        let endless = refusal(LingerForm::BSD44, Linger::Endless { l_linger: -1 });
        assert!(endless.contains("negative l_linger"), "{endless}");
        assert!(endless.contains("327.67s"), "{endless}");
        let kept = LingerRangeError {
            kept: Some(Linger::Off),
            ..LingerRangeError::new(Linger::Abort, LingerForm::POSIX)
        };
        assert_eq!(kept.to_string(), "this kernel keeps off of linger abort");
    }
}
