//! The network namespaces that a watch sees.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::netns::Netns;
use crate::source::counters;
use crate::source::destroy::Destroyed;
use crate::source::diag::Diag;
use crate::source::netns::{self, Namespace};
use crate::tuple::PortRange;

/// The name that stands for every network namespace there is.
pub const ALL_NAMESPACES: &str = "all";

/// Between two looks at which there are, at least.
const SCAN: Duration = Duration::from_millis(500);
/// A look takes at most this share of the time: 1/20.
const SHARE: u32 = 20;

/// What is opened in a network namespace.
pub(crate) type Opened = (u32, Destroyed);

/// A network namespace that is seen.
#[derive(Debug)]
struct Space {
    netns: Arc<Netns>,
    diag: Diag,
    ports: Option<PortRange>,
}

/// Those that are seen, by the watch's own numbers, which are never used twice.
#[derive(Debug)]
pub(crate) struct Spaces {
    open: BTreeMap<u32, Space>,
    /// Those that are seen no more, until their endings are told.
    left: BTreeMap<u32, Arc<Netns>>,
    next: u32,
    all: bool,
    next_scan: Instant,
    /// Those that may not be entered.
    closed: BTreeSet<u64>,
}

/// What a look at which there are has brought.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) came: Vec<Opened>,
    pub(crate) went: Vec<u32>,
}

impl Spaces {
    /// Opens those with these names, the calling thread's own where there is none; where
    /// it is one, the calling thread moves there.
    pub(crate) fn open(names: &[String]) -> io::Result<(Self, Vec<Opened>)> {
        let own = Namespace::own()?;
        let mut spaces = Self {
            open: BTreeMap::new(),
            left: BTreeMap::new(),
            next: 0,
            all: names.iter().any(|name| name == ALL_NAMESPACES),
            next_scan: Instant::now(),
            closed: BTreeSet::new(),
        };
        let mut opened = Vec::new();
        match names {
            _ if spaces.all => {
                opened.push(spaces.add(&own, own.inode, false)?);
                let others = spaces.scan();
                opened.extend(others.came);
            }
            [] => opened.push(spaces.add(&own, own.inode, false)?),
            [one] => {
                let namespace = Namespace::named(one)?;
                namespace.enter()?;
                opened.push(spaces.add(&namespace, own.inode, false)?);
            }
            several => {
                for name in several {
                    let namespace = Namespace::named(name)?;
                    if !spaces.has(namespace.inode) {
                        opened.push(spaces.add(&namespace, own.inode, true)?);
                    }
                }
            }
        }
        Ok((spaces, opened))
    }

    /// Opens the sources in a namespace; from outside, or as one who is there.
    fn add(&mut self, namespace: &Namespace, own: u64, outside: bool) -> io::Result<Opened> {
        let number = self.next;
        let sources = || {
            let destroyed = Destroyed::subscribe()?;
            Ok((destroyed, Diag::open(number)?, counters::local_ports()))
        };
        let (destroyed, diag, ports) = match outside {
            true => namespace.within(sources)?,
            false => sources()?,
        };
        let netns = Arc::new(Netns {
            inode: namespace.inode,
            name: namespace.name.clone(),
            own: namespace.inode == own,
        });
        self.next += 1;
        self.open.insert(number, Space { netns, diag, ports });
        Ok((number, destroyed))
    }

    fn has(&self, inode: u64) -> bool {
        self.open.values().any(|space| space.netns.inode == inode)
    }

    /// Looks which there are now, if it is time and all are asked for. One that no process
    /// is in and that has no name is let go: our own sockets alone would keep it.
    pub(crate) fn changes(&mut self) -> Changes {
        let began = Instant::now();
        if !self.all || began < self.next_scan {
            return Changes::default();
        }
        let changes = self.scan();
        self.next_scan = Instant::now() + SCAN.max(began.elapsed() * SHARE);
        changes
    }

    fn scan(&mut self) -> Changes {
        let there = netns::all();
        let mut changes = Changes::default();
        self.open.retain(|number, space| {
            let stays = space.netns.own || there.contains_key(&space.netns.inode);
            if !stays {
                changes.went.push(*number);
                self.left.insert(*number, Arc::clone(&space.netns));
            }
            stays
        });
        self.closed.retain(|inode| there.contains_key(inode));
        for (inode, whereabouts) in there {
            if self.has(inode) || self.closed.contains(&inode) {
                continue;
            }
            // It may be gone since: then it is not there at the next look either.
            let Ok(namespace) = whereabouts.open() else {
                continue;
            };
            match self.add(&namespace, 0, true) {
                Ok(opened) => changes.came.push(opened),
                Err(_) => {
                    self.closed.insert(inode);
                }
            }
        }
        changes
    }

    /// The endings of one that went are told.
    pub(crate) fn forget(&mut self, number: u32) {
        self.left.remove(&number);
    }

    pub(crate) fn netns(&self, number: u32) -> Option<&Arc<Netns>> {
        let open = self.open.get(&number).map(|space| &space.netns);
        open.or_else(|| self.left.get(&number))
    }

    /// The local ports that connect() takes by itself there.
    pub(crate) fn ports(&self, number: u32) -> Option<PortRange> {
        self.open.get(&number)?.ports
    }

    pub(crate) fn all_ports(&self) -> impl Iterator<Item = PortRange> {
        self.open.values().filter_map(|space| space.ports)
    }

    pub(crate) fn seen(&self) -> impl Iterator<Item = &Netns> {
        self.open.values().map(|space| &*space.netns)
    }

    pub(crate) fn closed(&self) -> usize {
        self.closed.len()
    }

    pub(crate) fn are_all(&self) -> bool {
        self.all
    }

    pub(crate) fn diags(&mut self) -> impl Iterator<Item = &mut Diag> {
        self.open.values_mut().map(|space| &mut space.diag)
    }

    pub(crate) fn diag(&mut self, number: u32) -> Option<&mut Diag> {
        self.open.get_mut(&number).map(|space| &mut space.diag)
    }
}
