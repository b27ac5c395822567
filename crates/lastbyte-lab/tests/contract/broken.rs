//! Closers that are broken on purpose, and the rows that must find each out.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lastbyte::{Fate, Linger, Policy};
use lastbyte_lab::harness::Stamp;
use lastbyte_lab::{Account, Child, Handle, Lab, Lastbyte, Plain, ROWS, Row, Subject, Told, row};
use libtest_mimic::Failed;
use socket2::SockRef;

use super::{demand_run, red};

/// One way to be broken, the rows that must go red, and some that must not.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    flaw: Flaw,
    red: &'static [&'static str],
    green: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// Plain close(2), and a report that always says delivered.
    ClaimsDelivered,
    /// Resets, whatever is asked.
    Aborts,
    /// Waits as long as it takes.
    NoDeadline,
    /// One byte too many in `lost`.
    Miscounts,
    /// Looks every 20 ms whether the close is done.
    Polls,
    /// Waits on non-blocking sockets too.
    Blocks,
    /// Says confirmed at the acknowledgement.
    SkipsConfirm,
    /// One close at a time.
    Serializes,
    /// A handle dropped resets the connection.
    ResetsOnDrop,
    /// Never sends an RST.
    NeverResets,
    /// Takes l_linger for 1/100 s.
    CountsTicks,
    /// Reads any option as a wait of a second.
    MisreadsOption,
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "claims_delivered",
        flaw: Flaw::ClaimsDelivered,
        red: &[
            "A3", "B2", "B3", "B4", "D2", "D3", "D5", "D6", "D7", "E1", "E2", "E3", "F1",
        ],
        green: &["A1"],
    },
    Case {
        name: "aborts_always",
        flaw: Flaw::Aborts,
        red: &[
            "A3", "A5", "B1", "B2", "B3", "D1", "D2", "D4", "D6", "D7", "E1",
        ],
        green: &["A1", "A2", "C1", "C2", "C3"],
    },
    Case {
        name: "enforces_no_deadline",
        flaw: Flaw::NoDeadline,
        red: &["A3", "A4", "D2", "D5", "D7", "E2", "E3", "F1"],
        green: &["B1", "B2", "B3", "C1", "D3", "D6", "E1"],
    },
    Case {
        name: "miscounts",
        flaw: Flaw::Miscounts,
        red: &["C1", "D1", "D2", "D3", "D7", "E2", "F1"],
        green: &["A1", "B1", "B2", "B3"],
    },
    Case {
        name: "polls",
        flaw: Flaw::Polls,
        red: &["D1"],
        green: &["D4"],
    },
    Case {
        name: "blocks_on_nonblocking_sockets",
        flaw: Flaw::Blocks,
        red: &["E1"],
        green: &["D2", "D3"],
    },
    Case {
        name: "skips_confirm",
        flaw: Flaw::SkipsConfirm,
        red: &["D4"],
        green: &["D6"],
    },
    Case {
        name: "closes_one_at_a_time",
        flaw: Flaw::Serializes,
        red: &["D8"],
        green: &[],
    },
    Case {
        name: "resets_on_drop",
        flaw: Flaw::ResetsOnDrop,
        red: &["E3"],
        green: &["E1", "E2"],
    },
    Case {
        name: "never_resets",
        flaw: Flaw::NeverResets,
        red: &["C1", "C2", "C3", "D2", "D7"],
        green: &["B1"],
    },
    Case {
        name: "counts_ticks",
        flaw: Flaw::CountsTicks,
        red: &["A2", "A3", "A4"],
        green: &["A1"],
    },
    Case {
        name: "misreads_the_option",
        flaw: Flaw::MisreadsOption,
        red: &["A1", "A2", "A5"],
        green: &[],
    },
];

/// Runs the rows of a case, and demands that each has the colour it must have.
pub(crate) fn found_out(lab: &Lab, case: &Case) -> Result<(), Failed> {
    let rows: Vec<&'static Row> = case
        .red
        .iter()
        .chain(case.green)
        .map(|id| row(id).ok_or_else(|| format!("no row {id}")))
        .collect::<Result<_, _>>()?;
    // Each runs two dozen rows side by side as it is.
    static IN_TURN: Mutex<()> = Mutex::new(());
    let _turn = IN_TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let subject: Arc<dyn Subject> = Arc::new(Broken(case.flaw));
    let results = lab.run(&rows, &[subject], &|_| {});
    let mut wrong = Vec::new();
    for result in &results.rows {
        let (id, outcome) = (result.row.id, &result.outcomes[0]);
        demand_run(outcome);
        if case.green.contains(&id) {
            if !outcome.kept() {
                wrong.push(format!("{id} should stand: {:?}", outcome.faults()));
            }
        } else if let Err(saw) = red(outcome) {
            wrong.push(format!("{id} did not go red: {saw}"));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n  ").into())
    }
}

/// No row is left that nothing can make fail.
pub(crate) fn every_row_can_fail() -> Result<(), Failed> {
    let can: BTreeSet<_> = CASES.iter().flat_map(|case| case.red).copied().collect();
    let all: BTreeSet<_> = ROWS.iter().map(|row| row.id).collect();
    let never: Vec<_> = all.difference(&can).collect();
    if never.is_empty() {
        Ok(())
    } else {
        Err(format!("no broken closer makes these fail: {never:?}").into())
    }
}

#[derive(Debug)]
struct Broken(Flaw);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Broken {
    fn policy(&self, policy: Policy) -> Policy {
        match self.0 {
            Flaw::Aborts => Policy::abort(),
            Flaw::NoDeadline if policy.linger().deadline().is_some() => {
                Policy::wait(Duration::from_secs(3600))
            }
            Flaw::SkipsConfirm => Policy::new(policy.linger()),
            _ => policy,
        }
    }

    fn twist(&self, mut told: Told, policy: Policy) -> Told {
        match self.0 {
            Flaw::ClaimsDelivered => told.account = Some(delivered()),
            Flaw::Miscounts => {
                if let Some(account) = &mut told.account {
                    account.lost = account.lost.map(|n| n + 1);
                }
            }
            Flaw::SkipsConfirm if policy.confirm() => {
                if let Some(account) = &mut told.account {
                    account.fate = Fate::Confirmed;
                }
            }
            _ => {}
        }
        let flaw = self.0;
        told.handle = told.handle.map(|inner| {
            Box::new(Twisted {
                flaw,
                policy,
                inner,
            }) as Box<dyn Handle>
        });
        told
    }
}

fn delivered() -> Account {
    Account {
        fate: Fate::Delivered,
        acked: Some(0),
        lost: Some(0),
        unsent: Some(0),
        unread: Some(0),
        rst_sent: Some(false),
        closed_first: None,
        elapsed: Duration::ZERO,
        error: None,
    }
}

impl Subject for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn reports(&self) -> bool {
        true
    }

    fn option(&self, socket: BorrowedFd<'_>) -> io::Result<Linger> {
        match self.0 {
            Flaw::MisreadsOption => Ok(Linger::Wait(Duration::from_secs(1))),
            _ => Lastbyte.option(socket),
        }
    }

    fn set_option(&self, socket: BorrowedFd<'_>, linger: Linger) -> io::Result<()> {
        match (self.0, linger) {
            (Flaw::CountsTicks, Linger::Wait(time)) => {
                Plain.set_option(socket, Linger::Wait(time.saturating_mul(100)))
            }
            _ => Lastbyte.set_option(socket, linger),
        }
    }

    fn close(&self, socket: OwnedFd, asked: Policy) -> Told {
        let policy = self.policy(asked);
        let called = Stamp::now();
        let mut told = match self.0 {
            Flaw::ClaimsDelivered => Plain.close(socket, policy),
            Flaw::CountsTicks => {
                let time = policy.linger().deadline().unwrap_or_default() / 100;
                Lastbyte.close(socket, Policy::wait(time))
            }
            Flaw::NeverResets if policy.linger() != Linger::Off => {
                // The time it is told, and then the kernel's background.
                std::thread::sleep(policy.linger().deadline().unwrap_or_default());
                let mut told = Plain.close(socket, Policy::off());
                told.account = Some(delivered());
                told
            }
            Flaw::Polls => poll_every_20_ms(socket, policy),
            Flaw::Blocks => match SockRef::from(&socket).set_nonblocking(false) {
                Ok(()) => Lastbyte.close(socket, policy),
                Err(error) => panic!("fcntl: {error}"),
            },
            Flaw::Serializes => {
                let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
                Lastbyte.close(socket, policy)
            }
            _ => Lastbyte.close(socket, policy),
        };
        told.called = called;
        self.twist(told, asked)
    }

    fn begin(&self, socket: OwnedFd, policy: Policy) -> Told {
        match self.0 {
            Flaw::ClaimsDelivered => self.close(socket, policy),
            Flaw::ResetsOnDrop => {
                let mut told = Lastbyte.begin(socket.try_clone().expect("dup"), policy);
                told.handle = told.handle.map(|inner| {
                    let socket = Some(socket);
                    Box::new(Resetting { inner, socket }) as Box<dyn Handle>
                });
                told
            }
            _ => self.twist(Lastbyte.begin(socket, self.policy(policy)), policy),
        }
    }

    fn close_many(&self, work: Vec<(OwnedFd, Policy)>, limit: Duration) -> Vec<Option<Told>> {
        let work = work
            .into_iter()
            .map(|(socket, policy)| (socket, self.policy(policy)))
            .collect();
        let all = match self.0 {
            Flaw::ClaimsDelivered => Plain.close_many(work, limit),
            _ => Lastbyte.close_many(work, limit),
        };
        all.into_iter()
            .map(|told| told.map(|told| self.twist(told, Policy::off())))
            .collect()
    }

    fn child(&self) -> Child {
        match self.0 {
            Flaw::ClaimsDelivered => Child::Plain,
            _ => Child::Lastbyte,
        }
    }
}

fn poll_every_20_ms(socket: OwnedFd, policy: Policy) -> Told {
    let mut told = Lastbyte.begin(socket, policy);
    while let Some(handle) = &mut told.handle {
        match handle.finish() {
            Some(end) => {
                return Told {
                    called: told.called,
                    ..end
                };
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    told
}

#[derive(Debug)]
struct Twisted {
    flaw: Flaw,
    policy: Policy,
    inner: Box<dyn Handle>,
}

impl Handle for Twisted {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.inner.descriptor()
    }

    fn finish(&mut self) -> Option<Told> {
        self.inner
            .finish()
            .map(|told| Broken(self.flaw).twist(told, self.policy))
    }
}

/// Holds a second descriptor of the connection, and resets it when dropped.
#[derive(Debug)]
struct Resetting {
    inner: Box<dyn Handle>,
    socket: Option<OwnedFd>,
}

impl Handle for Resetting {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.inner.descriptor()
    }

    fn finish(&mut self) -> Option<Told> {
        let told = self.inner.finish()?;
        self.socket = None;
        Some(told)
    }
}

impl Drop for Resetting {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            drop(Lastbyte.close(socket, Policy::abort()));
        }
    }
}
