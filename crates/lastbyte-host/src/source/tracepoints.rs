//! The tracepoints of [`parse::trace`](crate::parse::trace), opened on every CPU.

use std::ffi::CString;
use std::io;

use super::idle::Idle;
use super::names::Names;
use super::ring::{Event, Ring, ring_size};
use super::steps::Missed;
use super::{clock, doing, tracefs};
use crate::parse::perf::Record;
use crate::parse::trace::{Layouts, TRACEPOINTS, Trace, thread};
use crate::process::{Comm, Process};

/// The open tracepoints.
#[derive(Debug)]
pub(crate) struct Tracepoints {
    layouts: Layouts,
    rings: Vec<Ring>,
    // Closing them would stop them.
    _events: Vec<Event>,
    idle: io::Result<Idle>,
    names: Names,
    complete_since: u64,
    ready: Vec<(u64, Item)>,
    /// Up to when each ring was read.
    read_until: Vec<u64>,
}

impl Tracepoints {
    /// Opens them; `ports` limits transitions to those local or remote ports.
    ///
    /// # Errors
    ///
    /// What is missing: privilege, tracefs, a tracepoint, a field.
    pub(crate) fn open(ports: &[u16]) -> io::Result<Self> {
        let place = tracefs::Place::find()?;
        let formats = tracefs::formats(&place)?;
        let layouts = Layouts::new(&formats).map_err(io::Error::other)?;
        let mut rings = Vec::new();
        let mut events = Vec::new();
        let cpus = online_cpus()?;
        let size = ring_size(cpus.len());
        for &cpu in &cpus {
            for (index, (format, name)) in formats.iter().zip(TRACEPOINTS).enumerate() {
                let told = || format!("cannot open the tracepoint {name}");
                let event = Event::open(format.id, cpu, index == 0, size).map_err(doing(told()))?;
                if let Some(filter) = filter(name, ports) {
                    let filter = CString::new(filter)?;
                    event.filter(&filter).map_err(doing(told()))?;
                }
                if index == 0 {
                    rings.push(Ring::map(event, size).map_err(doing("cannot map a perf ring"))?);
                } else if let Some(ring) = rings.last() {
                    event.write_to(ring).map_err(doing(told()))?;
                    events.push(event);
                }
            }
        }
        let filters = TRACEPOINTS.map(|name| filter(name, ports));
        let idle = Idle::open(place, &cpus, &filters);
        for event in rings.iter().map(Ring::event).chain(&events) {
            event.enable()?;
        }
        let complete_since = clock::monotonic();
        // After that: a name taken in between is told as well, one taken before is read.
        let names = Names::read_all();
        Ok(Self {
            layouts,
            rings,
            _events: events,
            idle,
            names,
            complete_since,
            ready: Vec::new(),
            read_until: vec![0; cpus.len()],
        })
    }

    /// The rings, to wait for: each is readable when a quarter full.
    pub(crate) fn rings(&self) -> &[Ring] {
        &self.rings
    }

    /// Since when every one of them has been on.
    #[must_use]
    pub(crate) const fn complete_since(&self) -> u64 {
        self.complete_since
    }

    /// Why transitions on idle CPUs may be missing, if they may.
    #[must_use]
    pub(crate) fn blind(&self) -> Option<&io::Error> {
        self.idle.as_ref().err()
    }

    /// Hands over what has fired, in the order of time across CPUs. Returns what the kernel
    /// dropped because a buffer was full.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(u64, &Trace, Option<Process>)) -> Missed {
        // What fires on one CPU while another's ring is read is kept for the next
        // time: up to this moment every ring is complete.
        let until = clock::monotonic();
        let mut missed = Missed::default();
        self.read_rings(&mut missed);
        self.read_idle(&mut missed);
        let Self { names, ready, .. } = self;
        ready.sort_by_key(|(time, _)| *time);
        let complete = ready.partition_point(|(time, _)| *time <= until);
        for (time, item) in ready.drain(..complete) {
            match item {
                Item::Trace(pid, trace) => {
                    let known = trace.in_process && !matches!(pid, 0 | ELSEWHERE);
                    each(time, &trace, known.then(|| names.of(pid)));
                }
                Item::Named(pid, comm) => names.set(pid, comm),
                Item::Forked(pid, parent) => names.forked(pid, parent),
                Item::Exited(pid) => names.exited(pid),
            }
        }
        missed
    }

    /// Reads perf's rings into `ready`.
    fn read_rings(&mut self, missed: &mut Missed) {
        let Self {
            layouts,
            rings,
            idle,
            ready,
            read_until,
            ..
        } = self;
        // An idle CPU's records are in the other source, all of them. The pid alone does
        // not tell them: it is 0, too, for processes outside our pid namespace.
        let elsewhere = |raw: &[u8]| idle.is_ok() && thread(raw) == Some(0);
        for (ring, read_until) in rings.iter_mut().zip(read_until) {
            let full = ring.drain(|record| match record {
                Record::Sample { raw, .. } if elsewhere(raw) => {}
                Record::Sample { pid, time, raw } => {
                    *read_until = time;
                    if let Some(trace) = layouts.decode(raw) {
                        ready.push((time, Item::Trace(pid, trace)));
                    }
                }
                Record::Lost { count, time } => missed.add(count, *read_until, time),
                record => ready.extend(Item::of_process(&record)),
            });
            if full {
                missed.add(0, *read_until, clock::monotonic());
            }
        }
    }

    /// Reads what fired on idle CPUs into `ready`.
    fn read_idle(&mut self, missed: &mut Missed) {
        let Self {
            layouts,
            idle: Ok(idle),
            ready,
            ..
        } = self
        else {
            return;
        };
        let by_idle = idle.drain(|time, raw| {
            if let Some(trace) = layouts.decode(raw) {
                ready.push((time, Item::Trace(0, trace)));
            }
        });
        if by_idle.any() {
            missed.add(by_idle.count, by_idle.from, by_idle.until);
        }
    }
}

/// perf's pid of a thread that has none in our pid namespace and has ended.
const ELSEWHERE: u32 = u32::MAX;

/// What a record says, kept until its turn has come.
#[derive(Debug)]
enum Item {
    Trace(u32, Trace),
    Named(u32, Comm),
    Forked(u32, u32),
    Exited(u32),
}

impl Item {
    /// What a record says of a process: another name, a child, or its end. Those of single
    /// threads say nothing of it.
    fn of_process(record: &Record<'_>) -> Option<(u64, Self)> {
        match *record {
            Record::Comm {
                pid,
                tid,
                time,
                comm,
            } if pid == tid => Some((time, Self::Named(pid, comm))),
            Record::Fork { pid, parent, time } => Some((time, Self::Forked(pid, parent))),
            Record::Exit { pid, tid, time } if pid == tid => Some((time, Self::Exited(pid))),
            _ => None,
        }
    }
}

/// Less to read: transitions that tell nothing, errors that an RST explains.
fn filter(tracepoint: &str, ports: &[u16]) -> Option<String> {
    match tracepoint {
        "sock/inet_sock_set_state" => {
            let mut filter = "(protocol == 6 || protocol == 262) && newstate != 3".to_owned();
            if !ports.is_empty() {
                let any: Vec<_> = ports
                    .iter()
                    .map(|port| format!("sport == {port} || dport == {port}"))
                    .collect();
                filter += &format!(" && ({})", any.join(" || "));
            }
            Some(filter)
        }
        "sock/inet_sk_error_report" => {
            Some("protocol == 6 && error != 104 && error != 32 && error != 111".to_owned())
        }
        _ => None,
    }
}

/// `0-3,6` as `/sys/devices/system/cpu/online` has it.
fn online_cpus() -> io::Result<Vec<u32>> {
    const PATH: &str = "/sys/devices/system/cpu/online";
    let text = std::fs::read_to_string(PATH).map_err(doing(format!("cannot read {PATH}")))?;
    cpu_list(text.trim()).ok_or_else(|| io::Error::other(format!("cannot understand {PATH}")))
}

fn cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        cpus.extend(first..=last.min(first.saturating_add(8192)));
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_powers_of_two_within_the_budget() {
        assert_eq!(ring_size(2), 16 << 20);
        assert_eq!(ring_size(3), 8 << 20);
        assert_eq!(ring_size(64), 512 << 10);
        assert!((1..2000).all(|n| ring_size(n).is_power_of_two()));
    }

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(cpu_list("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(cpu_list("0"), Some(vec![0]));
        assert_eq!(cpu_list("x"), None);
    }
}
