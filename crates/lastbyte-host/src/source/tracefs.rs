//! Where the kernel describes its tracepoints: tracefs, mounted for everyone or
//! for this process alone.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::doing;
use crate::parse::trace::TRACEPOINTS;
use crate::parse::tracefs::Format;

/// Reads the `format` files of [`TRACEPOINTS`].
///
/// # Errors
///
/// A tracepoint does not exist, or may not be read.
pub(crate) fn formats(place: &Place) -> io::Result<[Format; 5]> {
    let mut formats: [Format; 5] = Default::default();
    for (format, tracepoint) in formats.iter_mut().zip(TRACEPOINTS) {
        let text = fs::read_to_string(place.path(&format!("events/{tracepoint}/format"))).map_err(
            doing(format!("cannot read the format of tracepoint {tracepoint}")),
        )?;
        *format = Format::parse(&text).ok_or_else(|| {
            io::Error::other(format!(
                "the format of tracepoint {tracepoint} has no number"
            ))
        })?;
    }
    Ok(formats)
}

/// Where tracefs is.
#[derive(Debug)]
pub(crate) struct Place {
    folder: PathBuf,
    /// A mount of our own that no path leads to: it goes when this does, and
    /// changes nothing for others.
    _mount: Option<OwnedFd>,
}

impl Place {
    /// Finds it, or mounts it for this process alone.
    ///
    /// # Errors
    ///
    /// tracefs may not be read (`EACCES`), or is neither mounted nor mountable.
    pub(crate) fn find() -> io::Result<Self> {
        for folder in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
            match fs::metadata(Path::new(folder).join("events")) {
                Ok(_) => {
                    return Ok(Self {
                        folder: folder.into(),
                        _mount: None,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(doing(format!("cannot look into {folder}"))(error));
                }
                Err(_) => {}
            }
        }
        let mount = private_mount().map_err(doing("cannot mount tracefs"))?;
        Ok(Self {
            folder: format!("/proc/self/fd/{}", mount.as_raw_fd()).into(),
            _mount: Some(mount),
        })
    }

    /// The path of a file in it.
    #[must_use]
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// [fsopen(2)] and [fsmount(2)], since Linux 5.2; needs `CAP_SYS_ADMIN`.
///
/// [fsopen(2)]: https://man7.org/linux/man-pages/man2/fsopen.2.html
/// [fsmount(2)]: https://man7.org/linux/man-pages/man2/fsmount.2.html
fn private_mount() -> io::Result<OwnedFd> {
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::empty();
    Ok(fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}
