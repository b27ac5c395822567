//! Where the shim is, and whether it belongs to this command.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use lastbyte_run_protocol::{MARK, SHIM_VERSION};

use crate::program::MUSL_LOADER;
use crate::unpack::{SHIM, unpack};

/// Where Debian has libraries of this architecture.
const MULTIARCH: &str = if cfg!(target_arch = "aarch64") {
    "../lib/aarch64-linux-gnu/lastbyte"
} else {
    "../lib/x86_64-linux-gnu/lastbyte"
};

/// Finds the shim: `LASTBYTE_SHIM` if set; else a file beside the running program
/// (an installed one, or where cargo puts both), in cargo's `deps`, in `../lib`,
/// `../lib/lastbyte`, the same under Debian's `../lib/x86_64-linux-gnu`, or
/// `../lib64/lastbyte`; else
/// `embedded`, the one that travels in the program, which is written into a cache
/// where every user can load it.
///
/// # Errors
/// A text that says where it was looked for, or that what is there is of another
/// version.
pub fn find_shim(embedded: Option<&[u8]>) -> Result<PathBuf, String> {
    if cfg!(not(target_env = "gnu")) {
        return Err(format!("lastbyte run needs glibc: {MUSL_LOADER}"));
    }
    if let Some(path) = env::var_os("LASTBYTE_SHIM") {
        let path = PathBuf::from(path);
        let path = path.canonicalize().map_err(|error| {
            format!(
                "LASTBYTE_SHIM names {}, which cannot be used: {error}",
                path.display()
            )
        })?;
        return fits(path);
    }
    let program = env::current_exe().and_then(|path| path.canonicalize());
    match (program.as_deref().ok().and_then(installed), embedded) {
        (Some(path), _) => fits(path),
        (None, Some(shim)) => unpack(shim),
        (None, None) => Err(match program {
            Ok(program) => nowhere(&program),
            Err(error) => format!("cannot tell where lastbyte itself is: {error}"),
        }),
    }
}

/// The shim that was installed with `program`.
fn installed(program: &Path) -> Option<PathBuf> {
    let folder = program.parent()?;
    // `deps` first: cargo always builds there, and only sometimes beside the program.
    let libraries = ["../lib", "../lib/lastbyte", MULTIARCH, "../lib64/lastbyte"];
    let places = ["deps", ""].into_iter().chain(libraries).chain([".."]);
    places
        .map(|place| folder.join(place).join(SHIM))
        .find_map(|path| path.canonicalize().ok())
}

fn nowhere(program: &Path) -> String {
    format!(
        "the shim {SHIM} is not beside {}, nor in ../lib, ../lib/lastbyte, {MULTIARCH} or \
         ../lib64/lastbyte of there, and this build has none in it; install it there (make install does), build it \
         (cargo build --release -p lastbyte-run-shim), or set LASTBYTE_SHIM to its path",
        program.display()
    )
}

/// `path`, if the shim there is of this command's version.
fn fits(path: PathBuf) -> Result<PathBuf, String> {
    let name = path.display();
    let file = fs::read(&path).map_err(|error| format!("cannot read the shim {name}: {error}"))?;
    match version(&file) {
        Some(found) if found == SHIM_VERSION => Ok(path),
        Some(found) => Err(format!(
            "the shim {name} is of lastbyte {found}, and this is lastbyte {SHIM_VERSION}: install \
             both of one version, or set LASTBYTE_SHIM to the right one's path"
        )),
        None => Err(format!("{name} is no shim of lastbyte {SHIM_VERSION}")),
    }
}

/// The version that a shim names in its file.
fn version(file: &[u8]) -> Option<&str> {
    let at = position(file, MARK.as_bytes())? + MARK.len();
    let rest = &file[at..];
    let end = rest.iter().take(64).position(|&byte| byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// Where `needle` begins in `hay`.
fn position(hay: &[u8], needle: &[u8]) -> Option<usize> {
    // SAFETY: both are valid for reads of their lengths, and nothing keeps the pointers.
    let found = unsafe {
        libc::memmem(
            hay.as_ptr().cast(),
            hay.len(),
            needle.as_ptr().cast(),
            needle.len(),
        )
    };
    (!found.is_null()).then(|| found.addr() - hay.as_ptr().addr())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_version_stands_after_the_mark_and_before_a_zero() {
        let of = |file: &str| version(file.as_bytes()).map(str::to_owned);
        assert_eq!(
            of("..lastbyte shim, version 1.2.3\0.."),
            Some("1.2.3".into())
        );
        assert_eq!(of("lastbyte shim, version 1.2.3"), None);
        assert_eq!(of(&format!("lastbyte shim, version {:>80}\0", "1")), None);
        assert_eq!(of("no library"), None);
        assert_eq!(of(""), None);
    }
}
