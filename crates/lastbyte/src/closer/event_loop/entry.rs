//! One connection in flight, and how its report reaches whoever awaits it.

use crate::closer::destroy_notices::Finished;
use crate::closer::{InputCount, Shared, Sink};
use crate::connection::Connection;
use crate::contain::contain;
use crate::driver::Driver;
use crate::error::CloseError;
use crate::hook;
use crate::report::Report;

/// A connection in flight.
pub(super) struct Entry {
    pub(super) driver: Driver,
    /// Until the report, where somebody awaits it.
    pub(super) sink: Option<Sink>,
    /// Who wants the count of input, once it is reported.
    input: InputCount,
    pub(super) reported: bool,
    pub(super) watched: bool,
}

impl Entry {
    pub(super) const fn new(driver: Driver, sink: Option<Sink>) -> Self {
        Self {
            driver,
            sink,
            input: InputCount::UNWANTED,
            reported: false,
            watched: false,
        }
    }

    /// Counts the report, and gives it to whoever awaits it. The caller settles the
    /// account.
    pub(super) fn report(
        &mut self,
        report: &Report,
        connection: Option<Connection>,
        shared: &Shared,
    ) {
        self.reported = true;
        shared.account.note(connection, report);
        if let Some(sink) = self.sink.take() {
            contain(|| self.input = sink(report.into_result()));
        }
    }

    /// As [`report`](Self::report), where the end was not seen.
    pub(super) fn fail(&mut self, error: CloseError, shared: &Shared) {
        self.reported = true;
        shared.account.note_unseen();
        let result = Err(error);
        hook::publish_unseen(self.driver.connection(), &result);
        if let Some(sink) = self.sink.take() {
            contain(|| drop(sink(result)));
        }
    }

    /// Its descriptor is closed, or is now.
    pub(super) fn close(self) {
        let Self { driver, input, .. } = self;
        let bytes = driver.discarded();
        drop(driver);
        input.settle(bytes);
    }
}

/// Counts, publishes and delivers the report of a connection that was left to the kernel.
pub(super) fn report_notice(finished: Finished, shared: &Shared) {
    let Finished {
        sink,
        report,
        connection,
    } = finished;
    shared.account.note(connection, &report);
    hook::publish(connection, &report);
    contain(|| drop(sink(report.into_result())));
    shared.inbox.done();
    shared.account.settle();
}
