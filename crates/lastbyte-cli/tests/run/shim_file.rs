//! Where the command finds its shim, and what it refuses to load.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lastbyte_testkit::{ignore, need, need_root};

use crate::harness::{lastbyte, scratch, text};

pub(crate) fn shim() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_lastbyte"))
        .parent()
        .expect("a folder");
    folder.join("deps/liblastbyte_run_shim.so")
}

/// Installs the command and the shim in a folder of their own and runs a program.
fn installed(command: &str, library: Option<&str>) -> Output {
    let folder = scratch().join(format!(
        "installed-{}-{}",
        std::process::id(),
        library.map_or(0, str::len)
    ));
    let place = folder.join(command);
    fs::create_dir_all(place.parent().expect("a folder")).expect("made");
    // Linked: a copy's writing end may be in a child that another test is just forking.
    fs::hard_link(env!("CARGO_BIN_EXE_lastbyte"), &place).expect("linked");
    if let Some(library) = library {
        let library = folder.join(library);
        fs::create_dir_all(library.parent().expect("a folder")).expect("made");
        fs::hard_link(shim(), library).expect("cargo puts the shim into deps");
    }
    let output = Command::new(place)
        .args(["run", "--", "sh", "-c", "echo $LD_PRELOAD"])
        .env_remove("LD_PRELOAD")
        .output()
        .expect("it starts");
    fs::remove_dir_all(folder).expect("ours");
    output
}

#[cfg(target_arch = "aarch64")]
macro_rules! multiarch {
    () => {
        "aarch64-linux-gnu"
    };
}
#[cfg(not(target_arch = "aarch64"))]
macro_rules! multiarch {
    () => {
        "x86_64-linux-gnu"
    };
}

#[test]
fn the_shim_is_found_beside_the_command_and_in_lib() {
    for place in [
        "bin/liblastbyte_run_shim.so",
        "lib/liblastbyte_run_shim.so",
        "lib/lastbyte/liblastbyte_run_shim.so",
        "lib64/lastbyte/liblastbyte_run_shim.so",
        // Debian's.
        concat!("lib/", multiarch!(), "/lastbyte/liblastbyte_run_shim.so"),
    ] {
        let output = installed("bin/lastbyte", Some(place));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{place}: {}",
            text(&output).1
        );
        assert!(
            text(&output).0.trim_end().ends_with(place),
            "{place}: {}",
            text(&output).0
        );
        assert_eq!(text(&output).1, "", "and it comes up");
    }
}

/// A folder that every user can enter, with the command in it and nothing else.
fn the_command_alone(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lastbyte-{name}-{}", std::process::id()));
    fs::create_dir(&folder).expect("new");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("ours");
    fs::copy(env!("CARGO_BIN_EXE_lastbyte"), folder.join("lastbyte")).expect("copied");
    folder
}

/// As `cargo install` leaves it.
#[test]
fn a_command_alone_brings_its_shim_with_it() {
    let folder = the_command_alone("alone");
    let run = |program: &[&str]| {
        let output = Command::new(folder.join("lastbyte"))
            .args(["run", "--"])
            .args(program)
            .env("XDG_CACHE_HOME", folder.join("cache"))
            .env_remove("LD_PRELOAD")
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{}", text(&output).1);
        text(&output)
    };
    let (path, errors) = run(&["sh", "-c", "echo $LD_PRELOAD"]);
    let path = PathBuf::from(path.trim_end());
    assert!(path.starts_with(folder.join("cache")), "{path:?}");
    assert_eq!(
        fs::read(&path).expect("it is there"),
        fs::read(shim()).expect("cargo puts the shim into deps")
    );
    assert_eq!(errors, "", "and it comes up");

    // What somebody changed is not loaded.
    fs::write(&path, "no library").expect("ours");
    assert_eq!(run(&["true"]).1, "");
    let bytes = fs::metadata(&path).expect("it is there").len();
    assert_eq!(bytes, fs::metadata(shim()).expect("it is there").len());
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn another_users_programs_load_the_shim_that_the_command_brings() {
    need_root();
    let folder = the_command_alone("others");
    let output = Command::new(folder.join("lastbyte"))
        .args(["run", "--", "setpriv", "--reuid=65534", "--regid=65534"])
        .args(["--clear-groups", "cat", "/proc/self/maps"])
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env_remove("LD_PRELOAD")
        .output()
        .expect("it starts");
    let (maps, errors) = text(&output);
    assert!(maps.contains("liblastbyte_run_shim.so"), "{maps}{errors}");
    assert_eq!(errors, "");
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn a_command_that_finds_no_place_for_its_shim_says_so() {
    need("unshare", "util-linux");
    need_root();
    let made = Command::new("unshare").args(["-m", "true"]).output();
    if !made.expect("it starts").status.success() {
        ignore("no mount namespace can be made here");
    }
    let folder = the_command_alone("no-place");
    // As on a small read-only system. The command is run by descriptor, because its
    // folder is under what is mounted over.
    let script = "exec 3<&0 && mount -t tmpfs -o noexec none /tmp \
                  && mount -t tmpfs -o noexec none /var/cache \
                  && exec /proc/self/fd/3 run -- true";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .stdin(fs::File::open(folder.join("lastbyte")).expect("it is there"))
        .env_remove("XDG_CACHE_HOME")
        .env_remove("TMPDIR")
        .output()
        .expect("it starts");
    fs::remove_dir_all(folder).expect("ours");
    let errors = text(&output).1;
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("it is mounted noexec"), "{errors}");
    assert!(errors.contains("LASTBYTE_SHIM"), "{errors}");
}

#[test]
fn a_shim_of_another_version_is_refused() {
    let folder = scratch().join(format!("versions-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("liblastbyte_run_shim.so");
    let mut bytes = fs::read(shim()).expect("cargo puts the shim into deps");
    let mark = b"lastbyte shim, version ";
    let at = bytes.windows(mark.len()).position(|here| here == mark);
    let at = at.expect("it names its version") + mark.len();
    bytes[at] = b'7';
    fs::write(&file, &bytes).expect("ours");
    let mine = env!("CARGO_PKG_VERSION");
    for (text_of_it, words) in [
        (
            &bytes[..],
            format!(
                "is of lastbyte 7{}, and this is lastbyte {mine}",
                &mine[1..]
            ),
        ),
        (b"no library", format!("is no shim of lastbyte {mine}")),
    ] {
        fs::write(&file, text_of_it).expect("ours");
        let output = lastbyte()
            .args(["run", "--", "echo", "it ran"])
            .env("LASTBYTE_SHIM", &file)
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(text(&output).0, "", "nothing was run");
        assert!(text(&output).1.contains(&words), "{}", text(&output).1);
    }
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn a_shim_that_cannot_come_up_is_said() {
    let file = scratch().join(format!("no-library-{}.so", std::process::id()));
    let marked = format!("lastbyte shim, version {}\0", env!("CARGO_PKG_VERSION"));
    fs::write(&file, marked).expect("written");
    let output = lastbyte()
        .args(["run", "--", "true"])
        .env("LASTBYTE_SHIM", &file)
        .output();
    let errors = text(&output.expect("it starts")).1;
    assert!(errors.contains("the shim did not come up"), "{errors}");
    let output = lastbyte()
        .args(["run", "--", "true"])
        .env("LASTBYTE_SHIM", "/no/shim")
        .output();
    let output = output.expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).1.contains("LASTBYTE_SHIM names /no/shim"));
}

#[test]
fn other_preloaded_libraries_stay() {
    let output = lastbyte()
        .args(["run", "--", "sh", "-c", "echo $LD_PRELOAD"])
        .env("LD_PRELOAD", "libc.so.6")
        .output()
        .expect("it starts");
    assert!(
        text(&output)
            .0
            .trim_end()
            .ends_with("liblastbyte_run_shim.so:libc.so.6")
    );
}
