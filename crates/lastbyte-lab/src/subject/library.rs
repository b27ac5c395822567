//! lastbyte.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lastbyte::{CloseError, Closer, Closing, Errno, Linger, Policy, Report};

use super::{Account, Child, Handle, Subject, Told};
use crate::harness::{Stamp, Starvation};

/// The library, by its public API only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lastbyte;

impl Subject for Lastbyte {
    fn name(&self) -> &'static str {
        "lastbyte"
    }

    fn reports(&self) -> bool {
        true
    }

    fn option(&self, socket: BorrowedFd<'_>) -> io::Result<Linger> {
        Linger::of(&socket)
    }

    fn set_option(&self, socket: BorrowedFd<'_>, linger: Linger) -> io::Result<()> {
        linger.set(&socket).map(drop)
    }

    fn close(&self, socket: OwnedFd, policy: Policy) -> Told {
        let called = Stamp::now();
        let result = lastbyte::close(socket, policy);
        told(called, result)
    }

    fn begin(&self, socket: OwnedFd, policy: Policy) -> Told {
        let called = Stamp::now();
        let begun = Closing::begin(socket, policy);
        let returned = Stamp::now();
        match begun {
            Ok(closing) => Told {
                called,
                returned,
                error: None,
                account: None,
                handle: Some(Box::new(Open { called, closing })),
                starved: 0.0,
            },
            Err(error) => told(called, Err(error)),
        }
    }

    fn close_many(&self, work: Vec<(OwnedFd, Policy)>, limit: Duration) -> Vec<Option<Told>> {
        let until = Instant::now() + limit;
        let mut all: Vec<Option<Told>> = work.iter().map(|_| None).collect();
        let Ok(closer) = Closer::new() else {
            return all;
        };
        let (send, ends) = channel();
        let starvation = Arc::new(Mutex::new(Starvation::default()));
        for (index, (socket, policy)) in work.into_iter().enumerate() {
            let send = send.clone();
            let starvation = Arc::clone(&starvation);
            let called = Stamp::now();
            let submitted = closer.close(socket, policy, move |result| {
                let mut told = told(called, result);
                let mut starvation = starvation.lock().unwrap_or_else(PoisonError::into_inner);
                starvation.note();
                if let Linger::Wait(time) = policy.linger() {
                    told.starved = starvation.since(called.after(time));
                }
                let _ = send.send((index, told));
            });
            if let Err(error) = submitted {
                all[index] = Some(told(called, Err(error)));
            }
        }
        drop(send);
        loop {
            match ends.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((index, told)) => all[index] = Some(told),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return all,
            }
        }
    }

    fn child(&self) -> Child {
        Child::Lastbyte
    }
}

#[derive(Debug)]
struct Open {
    called: Stamp,
    closing: Closing,
}

impl Handle for Open {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.closing.as_fd()
    }

    fn finish(&mut self) -> Option<Told> {
        match self.closing.try_finish() {
            Err(error) if error.would_block() => None,
            done => Some(told(self.called, done)),
        }
    }
}

fn told(called: Stamp, result: Result<Report, CloseError>) -> Told {
    let returned = Stamp::now();
    let mut told = Told {
        called,
        returned,
        error: None,
        account: None,
        handle: None,
        starved: 0.0,
    };
    match result {
        Ok(report) => told.account = Some(Account::from(&report)),
        Err(error) => {
            told.account = error.report().map(Account::from);
            // What a program sees that asks for nothing but an errno.
            if error.would_block() {
                told.error = Some(Errno::EWOULDBLOCK);
                told.handle = error
                    .into_closing()
                    .ok()
                    .map(|closing| Box::new(Open { called, closing }) as Box<dyn Handle>);
            } else {
                let errno = Errno::of(&io::Error::from(error));
                told.error = Some(errno.unwrap_or(Errno::from_raw(libc::EIO)));
            }
        }
    }
    told
}
