//! What fires on idle CPUs, from a trace instance of our own.
//!
//! perf tells nothing of what fires while some CPUs are idle: measured on Linux
//! 6.18, where no tracepoint of any kind reached perf from the idle task of a
//! secondary CPU, while ftrace had them all. A timer that gives a connection up,
//! and segments that arrive while nothing runs, are just that. So those few come
//! from here (`common_pid == 0`), all else from perf.
//!
//! The instance is a folder of tracefs; it is removed when this is dropped, and
//! one that a killed process left behind is removed by the next (`leftovers`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::steps::Missed;
use super::tracefs::Place;
use super::{doing, leftovers};
use crate::parse::ring_page::Page;
use crate::parse::trace::TRACEPOINTS;

const BUFFER_KB: &str = "2048";
/// Pages read of a CPU at once: twice what the buffer holds.
const PAGES: usize = 1024;

/// The instance.
#[derive(Debug)]
pub(crate) struct Idle {
    // Closed before the folder is removed.
    /// With up to when each was read.
    pipes: Vec<(File, u64)>,
    folder: Folder,
    page: Box<[u8]>,
}

impl Idle {
    /// Makes the instance and enables the tracepoints, each with its filter.
    ///
    /// # Errors
    ///
    /// tracefs may not be written.
    pub(crate) fn open(
        place: Place,
        cpus: &[u32],
        filters: &[Option<String>; 5],
    ) -> io::Result<Self> {
        leftovers::remove(&place.path("instances"));
        let folder = Folder::make(place)?;
        folder.write("trace_clock", "mono")?;
        folder.write("buffer_size_kb", BUFFER_KB)?;
        let mut pipes = Vec::new();
        for cpu in cpus {
            let path = folder.path.join(format!("per_cpu/cpu{cpu}/trace_pipe_raw"));
            let pipe = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&path)
                .map_err(doing(format!("cannot open {}", path.display())))?;
            pipes.push((pipe, 0));
        }
        for (tracepoint, filter) in TRACEPOINTS.iter().zip(filters) {
            let idle = match filter {
                Some(filter) => format!("common_pid == 0 && {filter}"),
                None => "common_pid == 0".to_owned(),
            };
            folder.write(&format!("events/{tracepoint}/filter"), &idle)?;
            folder.write(&format!("events/{tracepoint}/enable"), "1")?;
        }
        // A page is the system's page, and at most 64 KiB.
        let page = vec![0; 64 << 10].into_boxed_slice();
        Ok(Self {
            pipes,
            folder,
            page,
        })
    }

    /// Hands over each record and its time, CPU by CPU. What was dropped before
    /// some of them is told: how often, and the latest time.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(u64, &[u8])) -> Missed {
        let mut missed = Missed::default();
        for (pipe, read_until) in &mut self.pipes {
            let mut pages = 0;
            // Nothing there is EAGAIN; a CPU that went away has nothing either.
            while pages < PAGES
                && let Ok(length @ 1..) =
                    pipe.read(&mut self.page[..4096.max(rustix::param::page_size())])
            {
                let Some(page) = self.page.get(..length).and_then(Page::parse) else {
                    break;
                };
                pages += 1;
                if page.missed {
                    missed.add(1, *read_until, page.time());
                }
                for (time, record) in page.records() {
                    *read_until = time;
                    each(time, record);
                }
            }
        }
        missed
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for tracepoint in TRACEPOINTS {
            // What cannot be disabled goes with the folder.
            let _ = self
                .folder
                .write(&format!("events/{tracepoint}/enable"), "0");
        }
        self.pipes.clear();
    }
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    _place: Place,
}

impl Folder {
    fn make(place: Place) -> io::Result<Self> {
        let prefix = leftovers::own_prefix()?;
        // Several watches of one process (as in tests) each have their own.
        let path = (0..16)
            .map(|n| place.path(&format!("instances/{prefix}-{n}")))
            .find(|path| !path.exists())
            .ok_or_else(|| io::Error::other("too many trace instances of this process"))?;
        fs::create_dir(&path).map_err(doing("cannot make a trace instance"))?;
        Ok(Self {
            path,
            _place: place,
        })
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.path.join(file);
        fs::write(&path, text).map_err(doing(format!("cannot write {}", path.display())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody to tell; the next watch tries again.
        let _ = fs::remove_dir(&self.path);
    }
}
