//! The shim that travels in the command, as a file.
//!
//! The loader opens it again and again: whenever a program of the run starts another,
//! perhaps as another user and after the run. So it is neither a memfd, which other
//! users cannot reach, nor a temporary file that goes away with the run, but one file
//! for each build, in a cache, which nobody but its owner can change.

use std::env;
use std::ffi::CString;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;

use lastbyte_run_protocol::SHIM_VERSION;

/// The name of the shim's file.
pub(crate) const SHIM: &str = "liblastbyte_run_shim.so";

/// Writes `shim` to where every user can load it, unless it is there.
///
/// # Errors
/// A text that says why no place would do.
pub(crate) fn unpack(shim: &[u8]) -> Result<PathBuf, String> {
    // SAFETY: cannot fail.
    let user = unsafe { libc::geteuid() };
    let mut refused = String::new();
    for cache in caches(user) {
        match place(&cache, shim, user) {
            Ok(path) => return Ok(path),
            Err(error) => refused.push_str(&format!("; {}: {error}", cache.display())),
        }
    }
    Err(format!(
        "the shim cannot be put where programs can load it{refused}; set XDG_CACHE_HOME to a \
         folder for it, or LASTBYTE_SHIM to a copy's path"
    ))
}

/// Where it may go, the best first.
fn caches(user: libc::uid_t) -> Vec<PathBuf> {
    let named = |name| env::var_os(name).map(PathBuf::from);
    let asked = named("XDG_CACHE_HOME");
    let usual = match user {
        // Root's home is closed to those whom its programs run as.
        0 => Some(PathBuf::from("/var/cache")),
        _ => named("HOME").map(|home| home.join(".cache")),
    };
    let named = [asked, usual].into_iter().flatten();
    let named = named.filter(|folder| folder.is_absolute());
    let mut caches: Vec<PathBuf> = named.map(|folder| folder.join("lastbyte")).collect();
    // A name that somebody else may have taken: then it is not ours, and refused.
    caches.push(env::temp_dir().join(format!("lastbyte-{user}")));
    caches
}

fn place(cache: &Path, shim: &[u8], user: libc::uid_t) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    shim.hash(&mut hasher);
    let folder = cache.join(format!("{SHIM_VERSION}-{:016x}", hasher.finish()));
    if let Some(parent) = cache.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)?;
    }
    for folder in [cache, &folder] {
        own_folder(folder, user)?;
    }
    can_be_loaded_from(&folder, user)?;
    let path = folder.join(SHIM);
    if !is_there(&path, shim, user) {
        write(&folder, &path, shim)?;
    }
    Ok(path)
}

/// Makes a folder that its owner alone can change and everybody can enter.
fn own_folder(folder: &Path, user: libc::uid_t) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(folder) {
        // Whatever the umask is.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o755))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let data = fs::symlink_metadata(folder)?;
    let is_ours = data.is_dir() && data.uid() == user && data.mode() & 0o022 == 0;
    if is_ours {
        Ok(())
    } else {
        Err(io::Error::other("somebody else can change what is there"))
    }
}

/// Fails where code cannot be mapped, or where root's programs cannot come as others.
fn can_be_loaded_from(folder: &Path, user: libc::uid_t) -> io::Result<()> {
    let name = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: all zeroes is a value of this structure of integers.
    let mut system: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a terminated string and a structure that outlive the call.
    if unsafe { libc::statvfs(name.as_ptr(), &mut system) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if system.f_flag & libc::ST_NOEXEC != 0 {
        return Err(io::Error::other("it is mounted noexec"));
    }
    if user != 0 {
        return Ok(());
    }
    for folder in folder.canonicalize()?.ancestors() {
        if fs::metadata(folder)?.mode() & 0o001 == 0 {
            let closed = format!("{} is closed to other users", folder.display());
            return Err(io::Error::other(closed));
        }
    }
    Ok(())
}

/// Whether the file is there, whole, and nobody else's to change.
fn is_there(path: &Path, shim: &[u8], user: libc::uid_t) -> bool {
    let is_ours = fs::symlink_metadata(path)
        .is_ok_and(|data| data.is_file() && data.uid() == user && data.mode() & 0o777 == 0o644);
    is_ours && fs::read(path).is_ok_and(|there| there == shim)
}

/// Under another name first: a run that starts now finds all of it or nothing.
fn write(folder: &Path, path: &Path, shim: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{SHIM}.{}", process::id()));
    // What another process of this number left behind.
    let _ = fs::remove_file(&draft);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(shim)?;
            file.set_permissions(Permissions::from_mode(0o644))
        })
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> libc::uid_t {
        // SAFETY: cannot fail.
        unsafe { libc::geteuid() }
    }

    /// A cache in a folder of its own, which every user can enter.
    fn cache(name: &str) -> (PathBuf, PathBuf) {
        let folder = env::temp_dir().join(format!("lastbyte-unpack-{}-{name}", process::id()));
        DirBuilder::new().mode(0o755).create(&folder).expect("new");
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("ours");
        (folder.join("lastbyte"), folder)
    }

    #[test]
    fn it_is_written_once_and_mended_when_it_is_not_whole() {
        let (cache, folder) = cache("mended");
        let path = place(&cache, b"the shim", user()).expect("a place");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o644);
        let inode = |path: &Path| fs::metadata(path).expect("there").ino();
        let first = inode(&path);
        assert_eq!(place(&cache, b"the shim", user()).expect("the same"), path);
        assert_eq!(inode(&path), first, "it is not written again");
        fs::write(&path, b"half").expect("ours");
        place(&cache, b"the shim", user()).expect("mended");
        assert_eq!(fs::read(&path).expect("there"), b"the shim");
        let other = place(&cache, b"another build", user()).expect("a place");
        assert_ne!(other, path);
        fs::remove_dir_all(folder).expect("ours");
    }

    #[test]
    fn what_others_can_change_is_refused() {
        let (cache, folder) = cache("refused");
        fs::create_dir(&cache).expect("new");
        fs::set_permissions(&cache, Permissions::from_mode(0o777)).expect("ours");
        assert!(place(&cache, b"the shim", user()).is_err());
        fs::remove_dir(&cache).expect("empty");
        std::os::unix::fs::symlink(&folder, &cache).expect("a link");
        assert!(place(&cache, b"the shim", user()).is_err(), "a link");
        fs::remove_dir_all(folder).expect("ours");
    }

    #[test]
    fn where_other_users_cannot_come_is_no_place_for_roots_programs() {
        let (cache, folder) = cache("closed");
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("ours");
        assert_eq!(place(&cache, b"the shim", user()).is_err(), user() == 0);
        fs::remove_dir_all(folder).expect("ours");
    }
}
