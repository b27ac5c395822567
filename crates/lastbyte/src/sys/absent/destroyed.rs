//! A system that gives no notice of a connection's end: nothing can be left to it and be heard of
//! again.

use std::convert::Infallible;
use std::io;

use lastbyte_tcp::info::Counters;

use super::super::Identity;
use super::socket::{BorrowedSocket, HasSocket};

/// A subscription, which cannot be had.
pub(crate) struct Destroyed(Infallible);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) cookie: u64,
    pub(crate) queued: u64,
    pub(crate) counters: Option<Counters>,
}

#[derive(Debug)]
pub(crate) struct Overrun;

impl Destroyed {
    pub(crate) fn subscribe() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn namespace(&self) -> Option<u64> {
        match self.0 {}
    }

    pub(crate) fn read(&mut self, _each: impl FnMut(Notice)) -> Result<(), Overrun> {
        match self.0 {}
    }
}

impl HasSocket for Destroyed {
    fn borrowed(&self) -> BorrowedSocket<'_> {
        match self.0 {}
    }
}

pub(crate) fn identify(_socket: BorrowedSocket<'_>) -> Option<Identity> {
    None
}
