//! A cell: one value of each axis.

use std::fmt;
use std::str::FromStr;

use super::{Before, Came, Mode, Shared, Waits, Way, Who};

/// One value of each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the axes say what they are
pub struct Cell {
    pub came: Came,
    pub before: Before,
    pub mode: Mode,
    pub waits: Waits,
    pub way: Way,
    pub shared: Shared,
    pub who: Who,
}

impl Cell {
    /// Why there is no such situation, if there is none.
    #[must_use]
    pub fn senseless(&self) -> Option<&'static str> {
        let form = self.who.is_form();
        if form != (self.way == Way::Call) {
            return Some("the library's call is its way to let go, and no other's");
        }
        if self.who == Who::Receipt && self.mode != Mode::Off {
            return Some("a receipt is for linger off");
        }
        if self.who == Who::Receipt && self.shared == Shared::ForkChild {
            return Some(
                "a receipt comes when the parent closes its copy, which it does at its end",
            );
        }
        if self.who == Who::TokioStream && self.mode == Mode::Wait {
            return Some("a stream of tokio's is non-blocking");
        }
        if self.way.is_child()
            && !matches!(self.shared, Shared::Single | Shared::Dup | Shared::Execed)
        {
            return Some("the way is a fork already");
        }
        if self.came.multi() {
            match self.before {
                Before::UrgentIn | Before::UrgentOut => return Some("MPTCP has no urgent data"),
                Before::ZeroCopy => return Some("MPTCP has no MSG_ZEROCOPY"),
                Before::Filter | Before::LockedFilter | Before::ShutLocked => {
                    return Some("MPTCP sockets take no filter");
                }
                _ => {}
            }
        }
        let kept_elsewhere = matches!(self.shared, Shared::Dup | Shared::ForkChild);
        if self.came.multi() && self.who == Who::TokioStream && kept_elsewhere {
            return Some("a stream that is refused is dropped, and another holder keeps it open");
        }
        let held = self.came == Came::FastHeld;
        if held && self.waits == Waits::Unread {
            // The data of the SYN is read by then, and the peer cannot send more.
            return Some("a peer in SYN_SENT cannot send");
        }
        if held && self.before == Before::UrgentIn {
            return Some("a peer in SYN_SENT cannot send urgent data");
        }
        let void = self.void();
        if void
            && matches!(
                self.before,
                Before::ShutRead | Before::ShutWrite | Before::ShutBoth | Before::ShutLocked
            )
        {
            return Some("shutdown() itself ends a connection in SYN_SENT");
        }
        if void && self.before == Before::UrgentIn {
            return Some("nobody is there to send urgent data");
        }
        None
    }

    /// Whether the contract has to be kept here: neither the kernel's own close nor a
    /// refusal will do.
    #[must_use]
    pub fn must_keep(&self) -> bool {
        if self.came.multi() || self.void() || self.before == Before::ShutLocked {
            return false;
        }
        match self.who {
            Who::Kernel => false,
            // Input that comes once the descriptor is gone, and a duplicate that
            // somebody keeps, are what a receipt cannot do.
            Who::Receipt => {
                self.waits != Waits::Late && !matches!(self.shared, Shared::Dup | Shared::ForkChild)
            }
            who if who.is_form() => true,
            // Left to the kernel, with this reason, where data went out in the handshake.
            _ if self.came == Came::FastHeld => false,
            _ if self.way.signal().is_some() || self.way == Way::Exec => false,
            // At an exit there is nobody to wait.
            _ if self.way.ends_process() || self.way.is_child() => !self.mode.waits(),
            _ => true,
        }
    }

    /// The SYN with its data is never answered.
    #[must_use]
    pub fn void(&self) -> bool {
        self.came == Came::FastConnect && self.waits == Waits::Never
    }

    /// The same situation, let go by the kernel.
    #[must_use]
    pub fn control(&self) -> Self {
        let way = if self.way == Way::Call {
            Way::Close
        } else {
            self.way
        };
        Self {
            who: Who::Kernel,
            way,
            ..*self
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}.{}.{}.{}.{}",
            self.came.as_str(),
            self.before.as_str(),
            self.mode.as_str(),
            self.waits.as_str(),
            self.way.as_str(),
            self.shared.as_str(),
            self.who.as_str()
        )
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('.');
        let mut next = || {
            parts
                .next()
                .ok_or_else(|| format!("{text:?} has too few axes"))
        };
        let cell = Self {
            came: next()?.parse()?,
            before: next()?.parse()?,
            mode: next()?.parse()?,
            waits: next()?.parse()?,
            way: next()?.parse()?,
            shared: next()?.parse()?,
            who: next()?.parse()?,
        };
        match parts.next() {
            None => Ok(cell),
            Some(more) => Err(format!("{text:?} has more than the axes: {more:?}")),
        }
    }
}
