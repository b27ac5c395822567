//! What cannot be had: none of this is ever made.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use super::super::{Look, Readiness};
use super::socket::BorrowedSocket;
use super::unsupported;

pub(crate) struct Edges(Infallible);

#[derive(Clone, Copy)]
pub(crate) struct Event(());

impl Event {
    pub(crate) const NONE: Self = Self(());

    pub(crate) fn spent(&self) -> bool {
        false
    }

    pub(crate) fn token(&self) -> u64 {
        0
    }

    pub(crate) fn look(&self) -> Look {
        Look::Full
    }
}

impl Edges {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn add(&self, _socket: BorrowedSocket<'_>, _token: u64) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn add_readable(&self, _socket: BorrowedSocket<'_>, _token: u64) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn remove(&self, _socket: BorrowedSocket<'_>) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn wait<'a>(
        &self,
        _events: &'a mut [Event],
        _timeout: Option<Duration>,
    ) -> io::Result<&'a [Event]> {
        match self.0 {}
    }
}

impl Readiness for Edges {
    fn add(&mut self, _socket: BorrowedSocket<'_>, _token: u64) -> io::Result<()> {
        match self.0 {}
    }

    fn add_readable(&mut self, _socket: BorrowedSocket<'_>, _token: u64) -> io::Result<()> {
        match self.0 {}
    }

    fn forget(&mut self, _token: u64) {
        match self.0 {}
    }

    fn wait(&mut self, _events: &mut Vec<Event>, _timeout: Option<Duration>) -> io::Result<()> {
        match self.0 {}
    }
}

pub(crate) struct Timer(Infallible);

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn set(&self, _after: Option<Duration>) {
        match self.0 {}
    }
}

pub(crate) struct Waker(Infallible);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn wake(&self) {
        match self.0 {}
    }

    pub(crate) fn reset(&self) {
        match self.0 {}
    }
}

macro_rules! lends_nothing {
    ($($name:ty),*) => {$(
        #[cfg(unix)]
        impl std::os::fd::AsFd for $name {
            fn as_fd(&self) -> BorrowedSocket<'_> {
                match self.0 {}
            }
        }

        #[cfg(not(unix))]
        impl super::socket::AsSocket for $name {
            fn as_socket(&self) -> BorrowedSocket<'_> {
                match self.0 {}
            }
        }
    )*};
}

lends_nothing!(Edges, Timer, Waker);
