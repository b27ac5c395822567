//! An abort waits for nothing, so it happens in the calling thread. Its report comes from
//! the closer's thread, as every other.

use super::Shared;
use super::job::{Aborted, Begin, Job, Submitted};
use crate::connection::Connection;
use crate::contain::contain;
use crate::driver::Prepared;

impl Aborted {
    /// Counts the report and gives it to whoever awaits it.
    pub(super) fn deliver(self, shared: &Shared) {
        let Self {
            report,
            connection,
            sink,
        } = self;
        shared.account.note(Some(connection), &report);
        contain(|| sink(report.into_result()).settle(report.unread));
        shared.inbox.done();
        shared.account.settle();
    }
}

impl Shared {
    /// Aborts the connection and has its report delivered. Gives the close back, with
    /// nothing done, at the limit and after a drain has begun.
    #[expect(clippy::result_large_err, reason = "it goes back whole")]
    pub(super) fn abort(&self, begin: Begin) -> Result<(), Job> {
        // Before a drain could miss it.
        self.account.expect();
        if self.account.is_draining() || !self.inbox.reserve() {
            self.account.settle();
            return Err(Job::Begin(begin));
        }
        let Begin {
            socket,
            policy,
            began,
            sink,
        } = begin;
        let job = match Prepared::inspect(socket, &policy, began) {
            Ok(prepared) => {
                // Once it is aborted, the kernel no longer knows the addresses.
                let connection = Connection::of(&prepared.socket());
                let (_, progress) = prepared.map(Submitted::into_closing).start();
                Job::Aborted(Aborted {
                    report: progress.report.expect("an abort reports at once"),
                    connection,
                    sink,
                })
            }
            // The thread refuses what is no connection.
            Err((_, socket)) => Job::Begin(Begin {
                socket,
                policy,
                began,
                sink,
            }),
        };
        match self.inbox.push(job) {
            Ok(()) => Ok(()),
            // A drain has begun meanwhile, or there is no memory: the abort was done.
            Err(Job::Aborted(aborted)) => {
                aborted.deliver(self);
                Ok(())
            }
            Err(job) => {
                self.inbox.done();
                self.account.settle();
                Err(job)
            }
        }
    }
}
