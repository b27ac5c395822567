//! `lastbyte watch`: how every connection of this host ends.

mod keys;
mod live;
mod seen;
mod serve;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;

use lastbyte_host::watch::ALL_NAMESPACES;
use lastbyte_host::watch::Losses;
use lastbyte_host::watch::Stop;
use lastbyte_host::watch::{Config, Watcher};

use crate::argument;
use crate::output::{failed, note, output};
use crate::status::{DONE, Status};
use serve::{Bound, Served};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 watched to the end or was ended by a signal, 2 cannot watch, or standard
output cannot be written.")]
pub(crate) struct Args {
    /// Print one JSON line per ending; the default where stdout is no terminal.
    #[arg(long)]
    json: bool,
    /// Serve metrics under /metrics at this address; a port alone is on loopback.
    #[arg(long, value_name = "ADDR", value_parser = serve::address)]
    prometheus: Option<SocketAddr>,
    /// Stop after this long, such as 30s or 5m.
    #[arg(long = "for", value_name = "TIME", value_parser = argument::time)]
    time: Option<Duration>,
    /// Stop when this process ends.
    #[arg(long, value_name = "PID")]
    until_exit: Option<u32>,
    /// Print which sources there are, what is missing and which network namespaces are
    /// seen, and end.
    #[arg(long)]
    sources: bool,
    #[command(flatten)]
    scope: Scope,
}

/// What to look at; `watch` and `doctor` share it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Scope {
    /// Watch this network namespace: a name of `ip netns`, a path, or a process's number;
    /// may be repeated. `all` watches every one there is, those to come included.
    #[arg(long, value_name = "NAME|PATH|PID|all")]
    netns: Vec<String>,
    /// Only connections with this port at either end; may be repeated.
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// Only connections that this process owned or closed; may be repeated.
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
}

impl Scope {
    pub(crate) fn config(&self) -> Config {
        Config {
            netns: self.netns.clone(),
            ports: self.ports.clone(),
            pids: self.pids.clone(),
        }
    }

    /// The same where only one network namespace can be looked at.
    pub(crate) fn config_of_one(&self) -> io::Result<Config> {
        match &self.netns[..] {
            [] => {}
            [one] if one != ALL_NAMESPACES => {}
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "one network namespace at a time: give --netns once, and not as all",
                ));
            }
        }
        Ok(self.config())
    }
}

pub(crate) fn run(args: &Args) -> Status {
    match watch(args) {
        Ok(()) => DONE,
        Err(error) => failed(&error),
    }
}

fn watch(args: &Args) -> io::Result<()> {
    if args.sources {
        return seen::print(&Watcher::open(args.scope.config())?);
    }
    let stop = Stop::default()
        .after(args.time)
        .at_exit_of(args.until_exit)?
        .at_signals()?;
    // Before another network namespace is entered: whoever scrapes is outside.
    let bound = args.prometheus.map(Bound::to).transpose()?;
    let mut watcher = Watcher::open(args.scope.config())?;
    let served = bound.map(|bound| bound.serve(&mut watcher)).transpose()?;
    if args.json || !io::stdout().is_terminal() {
        lines(&mut watcher, &stop, served.as_ref())
    } else {
        live::show(&mut watcher, &stop, served.as_ref())
    }
}

/// One JSON line per ending on stdout; all else on stderr.
fn lines(watcher: &mut Watcher, stop: &Stop, served: Option<&Served>) -> io::Result<()> {
    for note in watcher.notes() {
        note!("{note}");
    }
    let mut namespaces = seen::Namespaces::default();
    namespaces.tell(watcher);
    note!("watching");
    let mut out = BufWriter::with_capacity(64 << 10, output());
    let mut told = Told::default();
    while !stop.now() {
        let mut written = Ok(());
        watcher.step(stop.wait(), |ending| {
            told.endings += 1;
            if let Some(served) = served {
                served.endings(std::slice::from_ref(&ending));
            }
            if written.is_ok() {
                written = ending.write_json(&mut out);
            }
        })?;
        written?;
        out.flush()?;
        told.losses(watcher.losses());
        namespaces.tell(watcher);
        if let Some(served) = served {
            served.update(watcher)?;
        }
    }
    let mut written = Ok(());
    watcher.finish(|ending| {
        told.endings += 1;
        if written.is_ok() {
            written = ending.write_json(&mut out);
        }
    })?;
    written?;
    out.flush()?;
    told.losses(watcher.losses());
    note!("{} endings", told.endings);
    Ok(())
}

/// What has been said of losses, so that each is said once.
#[derive(Default)]
struct Told {
    endings: u64,
    losses: Losses,
}

impl Told {
    fn losses(&mut self, now: Losses) {
        let Losses { endings, steps, .. } = now;
        if endings != self.losses.endings {
            note!(
                "{} endings dropped so far: {} by the kernel, its buffer full (ENOBUFS; \
                 root gets a larger one), {} here, not told fast enough",
                endings.in_all(),
                endings.by_kernel,
                endings.here
            );
        }
        if steps != self.losses.steps {
            note!(
                "{} steps missed so far: {} by the kernel, {} here; their endings are \
                 inferred",
                steps.in_all(),
                steps.by_kernel,
                steps.here
            );
        }
        if now.unfollowed > self.losses.unfollowed {
            note!(
                "more sockets at once than can be followed ({} not)",
                now.unfollowed
            );
        }
        if now.unasked > self.losses.unasked {
            note!(
                "more endings at once whose peer has not closed than can be waited for \
                 ({} not)",
                now.unasked
            );
        }
        self.losses = now;
    }
}
