//! C programs against the library: shared, static and installed.
#![cfg(target_os = "linux")]

#[macro_use]
extern crate lastbyte_testkit;

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lastbyte_testkit::{compile_c, need, succeed};

/// The recipe builds, and a build replaces the libraries that the others use.
static BUILD: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    BUILD.lock().unwrap_or_else(PoisonError::into_inner)
}

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn scratch(name: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("capi-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a scratch folder");
    folder
}

/// Where cargo puts libraries: beside the test programs.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("a test program");
    test.parent().expect("a folder").to_owned()
}

fn cc(source: &str, program: &Path, flags: &[String]) {
    let strict = ["-std=c11", "-Wextra"].map(str::to_owned);
    compile_c(
        &Path::new(HERE).join(source),
        program,
        &[&strict[..], flags].concat(),
    );
}

fn shared() -> Vec<String> {
    let libraries = libraries().display().to_string();
    // The soname is the installed library's, so the file is named outright.
    vec![
        format!("-I{HERE}/include"),
        format!("-L{libraries}"),
        "-l:liblastbyte_capi.so".into(),
    ]
}

fn r#static() -> Vec<String> {
    vec![
        format!("-I{HERE}/include"),
        format!("{}/liblastbyte_capi.a", libraries().display()),
        "-ldl".into(),
        "-lm".into(),
    ]
}

/// Runs a program with the shared library under the name it has when installed.
fn run(program: &Path, arguments: &[&str]) -> Output {
    let folder = program.parent().expect("a folder");
    let name = folder.join("liblastbyte.so.0");
    if !name.exists() {
        std::os::unix::fs::symlink(libraries().join("liblastbyte_capi.so"), &name).expect("a link");
    }
    Command::new(program)
        .args(arguments)
        .env("LD_LIBRARY_PATH", folder)
        .stdin(Stdio::null())
        .output()
        .expect("it starts")
}

#[test]
fn every_function_through_the_shared_library() {
    let _alone = alone();
    let folder = scratch("shared");
    let program = folder.join("abi");
    cc("tests/c/abi.c", &program, &shared());
    let output = run(&program, &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn every_function_through_the_static_library() {
    let _alone = alone();
    let folder = scratch("static");
    let program = folder.join("abi");
    cc("tests/c/abi.c", &program, &r#static());
    let output = run(&program, &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
    fs::remove_dir_all(folder).expect("ours");
}

/// What a peer that does not read until `program` is over gets of it.
fn against_a_peer_that_stops_reading(program: &Path, arguments: &[&str]) -> (Output, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port().to_string();
    let output = std::thread::scope(|scope| {
        let accepted = scope.spawn(|| listener.accept().expect("a connection").0);
        let output = run(program, &[&[port.as_str()], arguments].concat());
        (output, accepted.join().expect("no panic"))
    });
    let (output, mut stream) = output;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time");
    let end = match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => "EOF".to_owned(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "ECONNRESET".to_owned(),
        Err(error) => error.to_string(),
    };
    (output, end)
}

#[test]
fn the_manuals_programs() {
    let _alone = alone();
    let folder = scratch("manual");
    for example in ["linger-wait", "linger-abort", "linger-poll"] {
        cc(
            &format!("examples/{example}.c"),
            &folder.join(example),
            &shared(),
        );
    }
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();

    let (output, end) = against_a_peer_that_stops_reading(&folder.join("linger-wait"), &["1"]);
    assert_eq!(
        text(&output),
        "lb_close: Resource temporarily unavailable\n"
    );
    assert_eq!(
        (output.status.code(), end.as_str()),
        (Some(3), "ECONNRESET")
    );

    let (output, end) = against_a_peer_that_stops_reading(&folder.join("linger-abort"), &[]);
    assert!(text(&output).starts_with("aborted: "), "{}", text(&output));
    assert_eq!(
        (output.status.code(), end.as_str()),
        (Some(0), "ECONNRESET")
    );

    let (output, end) = against_a_peer_that_stops_reading(&folder.join("linger-poll"), &["300"]);
    assert_eq!(
        text(&output),
        "Resource temporarily unavailable, descriptor valid\n\
         timed_out Resource temporarily unavailable, descriptor gone\n"
    );
    assert_eq!(
        (output.status.code(), end.as_str()),
        (Some(0), "ECONNRESET")
    );
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn an_installed_library_is_found_by_pkg_config() {
    need("make", "make");
    need("pkg-config", "pkg-config");
    let _alone = alone();
    let folder = scratch("installed");
    let root = Path::new(HERE).join("../..");
    succeed(
        Command::new("make")
            .args(["install", "PROFILE=dev", "PREFIX=/usr"])
            .arg(format!("DESTDIR={}", folder.display()))
            .arg(format!("CARGO={}", env!("CARGO")))
            .current_dir(root),
    );
    let pkg_config = |arguments: &[&str]| {
        let output = succeed(
            Command::new("pkg-config")
                .args(arguments)
                .arg("lastbyte")
                .env("PKG_CONFIG_PATH", folder.join("usr/lib/pkgconfig"))
                .env("PKG_CONFIG_SYSROOT_DIR", &folder),
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    assert_eq!(pkg_config(&["--modversion"]), [env!("CARGO_PKG_VERSION")]);
    let program = folder.join("abi");
    cc(
        "tests/c/abi.c",
        &program,
        &pkg_config(&["--cflags", "--libs"]),
    );
    let output = Command::new(&program)
        .env("LD_LIBRARY_PATH", folder.join("usr/lib"))
        .output()
        .expect("it starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");

    // The command finds its shim where the recipe puts it.
    let output = Command::new(folder.join("usr/bin/lastbyte"))
        .args(["run", "--", "sh", "-c", "echo $LD_PRELOAD"])
        .output()
        .expect("it starts");
    let shim = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        shim.trim_end()
            .ends_with("/usr/lib/lastbyte/liblastbyte_run_shim.so"),
        "{shim}"
    );
    for file in [
        "usr/share/man/man1/lastbyte.1",
        "usr/share/man/man1/lastbyte-run.1",
    ] {
        assert!(folder.join(file).exists(), "{file}");
    }
    fs::remove_dir_all(folder).expect("ours");
}

fn main() -> std::process::ExitCode {
    lastbyte_testkit::main()
}
