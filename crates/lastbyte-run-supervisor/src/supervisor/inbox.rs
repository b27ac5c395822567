//! The channel, and whether it is read.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;

use crate::channel::{Arrival, Channel};
use crate::events::{Events, Source};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Messages are waited for.
    On,
    /// There are no descriptors to read with.
    Paused,
    /// Nothing new is taken any more.
    Stopped,
    /// Nobody is left who could send, or it cannot be read.
    Ended,
}

pub(super) struct Inbox {
    /// Never dropped but with the process: sockets that lie in it would be closed in
    /// the call, with the wait that their linger options ask for.
    channel: ManuallyDrop<Channel>,
    reading: Reading,
}

impl Inbox {
    /// `channel` is waited for already.
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            channel: ManuallyDrop::new(channel),
            reading: Reading::On,
        }
    }

    /// Whether some process can still send.
    pub(super) fn is_open(&self) -> bool {
        self.reading != Reading::Ended
    }

    /// Whether messages lie unread on purpose.
    pub(super) fn is_held_back(&self) -> bool {
        matches!(self.reading, Reading::Paused | Reading::Stopped)
    }

    /// The next message. Nothing where none is to be read.
    pub(super) fn receive(&mut self, events: &Events) -> io::Result<Arrival> {
        if self.reading != Reading::On {
            return Ok(Arrival::Nothing);
        }
        let arrival = self.channel.take();
        if matches!(arrival, Ok(Arrival::End) | Err(_)) {
            self.leave(events, Reading::Ended);
        }
        arrival
    }

    /// Reads no further, or goes on.
    pub(super) fn pause(&mut self, events: &Events, is_paused: bool) {
        match (self.reading, is_paused) {
            (Reading::On, true) => self.leave(events, Reading::Paused),
            (Reading::Paused, false) => {
                let fd = self.channel.as_raw_fd();
                if events.add(fd, Source::Channel).is_ok() {
                    self.reading = Reading::On;
                }
            }
            _ => {}
        }
    }

    /// Takes nothing new any more.
    pub(super) fn stop(&mut self, events: &Events) {
        match self.reading {
            Reading::On => self.leave(events, Reading::Stopped),
            Reading::Paused => self.reading = Reading::Stopped,
            Reading::Stopped | Reading::Ended => {}
        }
    }

    fn leave(&mut self, events: &Events, reading: Reading) {
        events.remove(self.channel.as_raw_fd());
        self.reading = reading;
    }
}
