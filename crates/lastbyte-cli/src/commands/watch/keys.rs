//! Keys, read on a thread that can be left behind: crossterm never returns from a
//! terminal that has gone away.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use lastbyte_host::watch::raise_priority;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::crossterm::event::{self, Event};

/// Keys that wait to be taken.
const ROOM: usize = 256;
/// Between two looks for what is not input, such as another size of the screen.
const GLANCE: u16 = 50;

/// The keys, and whatever else the terminal tells.
pub(super) struct Keys(Receiver<io::Result<Event>>);

/// What came.
pub(super) enum Came {
    /// A key, or another size.
    Event(Event),
    /// Nothing, for as long as was waited.
    Nothing,
    /// The end of the terminal.
    End,
}

impl Keys {
    /// Begins to read.
    pub(super) fn read() -> io::Result<Self> {
        let terminal = terminal()?;
        let (sender, receiver) = sync_channel(ROOM);
        thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || {
                raise_priority();
                if let Err(error) = read(&terminal, &sender) {
                    // Nobody listens any more: the view has ended.
                    let _ = sender.send(Err(error));
                }
            })?;
        Ok(Self(receiver))
    }

    /// Waits for at most so long.
    pub(super) fn next(&self, wait: Duration) -> io::Result<Came> {
        match self.0.recv_timeout(wait) {
            Ok(event) => event.map(Came::Event),
            Err(RecvTimeoutError::Timeout) => Ok(Came::Nothing),
            Err(RecvTimeoutError::Disconnected) => Ok(Came::End),
        }
    }
}

/// Whence crossterm reads.
fn terminal() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    match stdin.is_terminal() {
        true => stdin.as_fd().try_clone_to_owned(),
        false => File::open("/dev/tty").map(OwnedFd::from),
    }
}

/// Until the terminal is gone, or nobody listens.
fn read(terminal: &OwnedFd, keys: &SyncSender<io::Result<Event>>) -> io::Result<()> {
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    loop {
        let mut fds = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(GLANCE)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let told = fds[0].revents().unwrap_or(PollFlags::empty());
        if told.intersects(gone) {
            return Ok(());
        }
        while event::poll(Duration::ZERO)? {
            if keys.send(Ok(event::read()?)).is_err() {
                return Ok(());
            }
        }
    }
}
