//! Where the kernel describes its tracepoints: tracefs, mounted for everyone or
//! for this process alone.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

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
    const FSOPEN_CLOEXEC: libc::c_uint = 1;
    const FSMOUNT_CLOEXEC: libc::c_uint = 1;
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    let name: &CStr = c"tracefs";
    // SAFETY: the name ends in NUL; the result is checked.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) })?;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes neither key nor value.
    let created = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            none,
            none,
            0,
        )
    };
    if created < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the context is open; the result is checked.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) })
}

fn owned(returned: libc::c_long) -> io::Result<OwnedFd> {
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = libc::c_int::try_from(returned).map_err(io::Error::other)?;
    // SAFETY: the system call has just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
