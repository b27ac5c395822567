//! What is prepared before the program runs.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use lastbyte_run_protocol::Settings;

use crate::channel::{Pair, check};
use crate::descriptor_budget::DescriptorBudget;
use crate::events::{Events, Source};
use crate::ledger::{Entries, Ledger};
use crate::log::Log;
use crate::process_limits::{leave_inherited_sockets_alone, raise_file_limit};
use crate::program::{self, Obstacle};
use crate::signals::{self, Signals};
use crate::start::{self, Inheritance};
use crate::supervisor::{State, Supervisor};
use crate::user_closers::{Context, UserClosers};
use crate::witness::Witness;
use crate::{Error, Options, Outcome, messages, uncovered};

#[allow(clippy::too_many_lines, reason = "the order of the steps matters")]
pub(crate) fn run(options: Options) -> Result<Outcome, Error> {
    let instead_of = options
        .behind
        .as_ref()
        .map_or_else(std::process::id, |behind| behind.instead_of);
    let path = program::locate(&options.program)?;
    let obstacle = program::obstacle(&path);
    if let Some(obstacle) = obstacle {
        judge(obstacle, &path, options.anyway)?;
    }
    let system = |what| move |error| Error::System(what, error);
    let files = raise_file_limit().map_err(system("cannot read the limit of open files"))?;
    let observed = options.log.is_some() || options.summary;
    let settings = Settings {
        linger: options.linger,
        observed,
    };
    let Pair {
        ours,
        theirs,
        shared,
    } = Pair::new(settings, files.0.rlim_cur)
        .map_err(system("cannot make the channel to the program"))?;
    leave_inherited_sockets_alone(shared);
    // Before any thread is started, so that all of them have our signals blocked.
    let signals = Signals::take_over().map_err(system("cannot take over signals"))?;
    // SAFETY: no memory involved.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) })
        .map_err(system("cannot become the parent of orphaned descendants"))?;
    let log = options
        .log
        .map(Log::new)
        .transpose()
        .map_err(system("cannot start the log"))?;
    // SAFETY: no memory involved.
    let waker = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
        .map_err(system("cannot make an event descriptor"))?;
    let ledger = Arc::new(Ledger {
        mapping: shared,
        observed,
        // SAFETY: just made.
        waker: unsafe { OwnedFd::from_raw_fd(waker) },
        is_awaited: AtomicBool::new(false),
        unheld: Mutex::default(),
        is_idle_awaited: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        entries: Mutex::new(Entries {
            log,
            ..Entries::default()
        }),
    });
    // SAFETY: cannot fail.
    let own = unsafe { libc::getuid() };
    let context = Context {
        ledger: Arc::clone(&ledger),
        linger: options.linger,
    };
    let user_closers = UserClosers::new(context, own).map_err(system("cannot start the closer"))?;
    let events = Events::new().map_err(system("cannot wait for events"))?;
    let sources = [
        (signals.as_raw_fd(), Source::Signals),
        (waker, Source::Waker),
        (ours.as_raw_fd(), Source::Channel),
    ];
    let witness = observed.then(witness).flatten();
    match &witness {
        Some(witness) => events
            .add(witness.as_fd().as_raw_fd(), Source::Notices)
            .map_err(system("cannot wait for events"))?,
        None => ledger.entries().connections.set_deaf(),
    }
    for (fd, source) in sources {
        events
            .add(fd, source)
            .map_err(system("cannot wait for events"))?;
    }
    let address = theirs
        .address()
        .map_err(system("cannot identify the channel"))?;
    let child = start::start(
        &options.program,
        &path,
        &options.arguments,
        &Inheritance {
            shim: &options.shim,
            address,
            ends: theirs.descriptors(),
            files: files.0,
            mask: signals.before,
            pipe: signals::inherited_pipe(),
            instead_of,
        },
    )?;
    uncovered::start(Arc::clone(&ledger));
    // With our copies gone, the channel ends when its last holder does.
    drop(theirs);
    let supervisor = Supervisor::new(State {
        channel: ours,
        signals,
        events,
        user_closers,
        ledger,
        linger: options.linger,
        budget: DescriptorBudget::new(files.1, own),
        child: libc::pid_t::try_from(child.id()).unwrap_or(0),
        uncovered: obstacle
            .map(|obstacle| format!("{} {obstacle}", path.display()))
            .into_iter()
            .collect(),
        witness,
        behind: options.behind,
    });
    Ok(supervisor.run(options.follow, options.patience))
}

/// The kernel's notices; without them nothing is known of what the kernel closes.
fn witness() -> Option<Witness> {
    Witness::new()
        .inspect_err(|error| {
            messages::print(format_args!(
                "the kernel does not say what becomes of connections that it closes \
                 ({error}); what is lost there is unknown"
            ));
        })
        .ok()
}

fn judge(obstacle: Obstacle, path: &std::path::Path, anyway: bool) -> Result<(), Error> {
    if !anyway {
        return Err(Error::Uncovered(path.to_owned(), obstacle));
    }
    messages::print(format_args!(
        "{} {obstacle}; its closes are the kernel's own",
        path.display()
    ));
    Ok(())
}
