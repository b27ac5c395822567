//! A private namespace with a capture, and the programs that play in it.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use lastbyte_lab::harness::{Capture, Place};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The actor without lastbyte.
    pub plain: PathBuf,
    /// The actor with the library.
    pub library: PathBuf,
    /// The command `lastbyte`.
    pub command: PathBuf,
}

/// A namespace of this process's own, with everything that is on its wire.
#[derive(Debug)]
pub struct Stage {
    /// The capture.
    pub capture: Capture,
    /// The programs.
    pub programs: Programs,
}

impl Stage {
    /// Sets the stage up, in the namespace that [`enter`] made.
    ///
    /// # Errors
    /// No packets can be captured here.
    pub fn new(programs: Programs) -> io::Result<Self> {
        // Data in the SYN without cookies, on both sides. Ours to change: the
        // namespace is this process's own.
        std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", "519")?;
        crate::late::watch();
        Ok(Self {
            capture: Capture::start()?,
            programs,
        })
    }
}

/// Enters a namespace of this process's own; before any thread exists.
///
/// # Errors
/// The system refuses one: the matrix does not touch the host's own network.
pub fn enter() -> Result<(), String> {
    match lastbyte_lab::harness::enter() {
        Place::Namespace => Ok(()),
        Place::Loopback { why } => Err(why),
    }
}

/// Whether the kernel has MPTCP.
#[must_use]
pub fn has_mptcp() -> bool {
    std::fs::read_to_string("/proc/sys/net/mptcp/enabled").is_ok_and(|text| text.trim() == "1")
}

/// The command `lastbyte`, built with the shim beside it if it is not there, or what
/// `LASTBYTE_MATRIX_COMMAND` names.
///
/// # Errors
/// It cannot be built.
pub fn build_command() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("LASTBYTE_MATRIX_COMMAND") {
        return Ok(path.into());
    }
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    // target/PROFILE/deps/matrix-….
    let profile = test.parent().and_then(|deps| deps.parent());
    let profile = profile.ok_or("the test does not lie in a target directory")?;
    let target = profile
        .parent()
        .ok_or("the test does not lie in a target directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args([
        "build",
        "--quiet",
        "-p",
        "lastbyte-cli",
        "--bin",
        "lastbyte",
    ]);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    build.arg("--target-dir").arg(target);
    let status = build.status().map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err(format!("the command lastbyte cannot be built: {status}"));
    }
    Ok(profile.join("lastbyte"))
}
