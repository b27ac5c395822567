//! One clock for packets and calls: CLOCK_REALTIME, which is what the kernel
//! stamps captured packets with.

use std::fmt;
use std::ops::Sub;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment on CLOCK_REALTIME, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(i64);

impl Stamp {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// From the two fields that the kernel gives.
    #[must_use]
    pub const fn from_parts(seconds: u32, nanos: u32) -> Self {
        Self(seconds as i64 * 1_000_000_000 + nanos as i64)
    }

    /// `time` later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)),
        )
    }

    /// `time` earlier.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns how long this has been ago; zero for a moment to come.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(u64::try_from(Self::now().0 - self.0).unwrap_or(0))
    }
}

impl Sub for Stamp {
    /// Milliseconds, negative where `self` is the earlier.
    type Output = f64;

    fn sub(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 / 1e6
    }
}

/// Milliseconds as people write them: three decimals below ten, one above.
#[must_use]
pub fn ms(millis: f64) -> impl fmt::Display {
    struct Ms(f64);
    impl fmt::Display for Ms {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0.abs() {
                m if m < 10.0 => write!(f, "{:.2} ms", self.0),
                m if m < 10_000.0 => write!(f, "{:.1} ms", self.0),
                _ => write!(f, "{:.2} s", self.0 / 1000.0),
            }
        }
    }
    Ms(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_signed_milliseconds() {
        let a = Stamp::from_parts(10, 999_000_000);
        let b = Stamp::from_parts(11, 1_000_000);
        assert!((b - a - 2.0).abs() < 1e-9);
        assert!((a - b + 2.0).abs() < 1e-9);
        assert_eq!(a.after(Duration::from_millis(2)), b);
        assert_eq!(b.before(Duration::from_millis(2)), a);
    }
}
