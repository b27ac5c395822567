//! Network namespaces: which there are, and how to open sources in them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::doing;

/// Where `ip netns` and Docker keep namespaces by name.
const FOLDERS: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    file: File,
    /// Its inode, by which namespaces are told apart.
    pub inode: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
}

impl Namespace {
    /// That of the calling thread.
    ///
    /// # Errors
    ///
    /// `/proc` is not mounted.
    pub(crate) fn own() -> io::Result<Self> {
        Self::at(Path::new("/proc/thread-self/ns/net"), None)
    }

    /// By a name of `ip netns`, a path, or the number of a process (`812`, `pid:812`).
    ///
    /// # Errors
    ///
    /// There is none, or it may not be seen.
    pub(crate) fn named(which: &str) -> io::Result<Self> {
        let path = path(which);
        let name = path.starts_with(FOLDERS[0]).then(|| which.to_owned());
        Self::at(&path, name)
    }

    fn at(path: &Path, name: Option<String>) -> io::Result<Self> {
        let cannot = || {
            doing(format!(
                "cannot open the network namespace {}",
                path.display()
            ))
        };
        let file = File::open(path).map_err(cannot())?;
        let inode = file.metadata().map_err(cannot())?.ino();
        Ok(Self { file, inode, name })
    }

    /// Moves the calling thread into it. Needs `CAP_SYS_ADMIN`.
    ///
    /// # Errors
    ///
    /// It may not be entered, or is none.
    pub(crate) fn enter(&self) -> io::Result<()> {
        // The kernel checks that it is a namespace.
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(io::Error::from)
            .map_err(doing(format!("cannot enter the network namespace {self}")))
    }

    /// Does something in it, on a thread of its own; what that opens stays there.
    ///
    /// # Errors
    ///
    /// As [`enter`](Self::enter), or no thread can be made.
    pub(crate) fn within<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        thread::scope(|scope| {
            let inside = thread::Builder::new().spawn_scoped(scope, || {
                self.enter()?;
                work()
            })?;
            let done = inside.join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl std::fmt::Display for Namespace {
    /// As `/proc/PID/ns/net` has it, and the name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "net:[{}]", self.inode)?;
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

/// Where to find every network namespace that a process is in or that has a name, by
/// inode; those of threads that left their process's are not looked for.
#[must_use]
pub(crate) fn all() -> BTreeMap<u64, Whereabouts> {
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_str().map(str::to_owned);
            // A file that is not mounted over is an empty one of another file system.
            if let Ok(file) = fs::metadata(&path)
                && file.dev() == nsfs()
            {
                found
                    .entry(file.ino())
                    .or_insert(Whereabouts { path, name });
            }
        }
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.parse::<u32>().is_ok());
        let path = entry.path().join("ns/net");
        if is_process && let Ok(file) = fs::metadata(&path) {
            found
                .entry(file.ino())
                .or_insert(Whereabouts { path, name: None });
        }
    }
    found
}

/// A path to a network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Whereabouts {
    path: PathBuf,
    name: Option<String>,
}

impl Whereabouts {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// It is gone, or may not be seen.
    pub(crate) fn open(&self) -> io::Result<Namespace> {
        Namespace::at(&self.path, self.name.clone())
    }
}

/// The device that all namespaces are files of; 0 is none's.
fn nsfs() -> u64 {
    fs::metadata("/proc/self/ns/net").map_or(0, |file| file.dev())
}

fn path(which: &str) -> PathBuf {
    let named = Path::new(FOLDERS[0]).join(which);
    let pid = which.strip_prefix("pid:").unwrap_or(which);
    match pid.parse::<u32>() {
        Ok(pid) if which.starts_with("pid:") || !named.exists() => {
            PathBuf::from(format!("/proc/{pid}/ns/net"))
        }
        _ if which.contains('/') => PathBuf::from(which),
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_found_by_name_path_or_process() {
        for (which, path_of_it) in [
            ("blue", "/run/netns/blue"),
            ("/a/b", "/a/b"),
            ("pid:812", "/proc/812/ns/net"),
            ("812", "/proc/812/ns/net"),
            ("pid:blue", "/run/netns/pid:blue"),
        ] {
            assert_eq!(path(which), Path::new(path_of_it), "{which}");
        }
    }

    #[test]
    fn the_own_one_is_among_all() {
        let own = Namespace::own().expect("/proc is mounted");
        let path = fs::read_link("/proc/thread-self/ns/net").expect("it is");
        assert_eq!(own.to_string(), path.display().to_string());
        assert!(all().contains_key(&own.inode));
    }
}
