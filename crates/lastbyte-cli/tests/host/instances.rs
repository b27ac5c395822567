//! The trace instance of a watch: gone with it, however it ends.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::space::{Space, Watch, text};

/// The names of all trace instances there are, in a mount that only `ls` sees.
fn instances() -> Vec<String> {
    let look = "mount -t tracefs tracefs /mnt && ls /mnt/instances";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", look])
        .output()
        .expect("util-linux is installed");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

pub(crate) fn of(watch: u32) -> Vec<String> {
    let part = format!("-{watch}-");
    let mut names = instances();
    names.retain(|name| name.starts_with("lastbyte-") && name.contains(&part));
    names
}

/// SIGHUP killed it; the end of SIGKILL was cleared only while nobody else had its pid.
pub(crate) fn are_gone_after_any_signal() {
    let space = Space::new();
    let start = || Watch::start(space.command(env!("CARGO_BIN_EXE_lastbyte")), &["--json"]);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let watch = start();
        let pid = watch.pid();
        assert_eq!(of(pid).len(), 1, "{:?}", instances());
        let (_, said) = watch.stop_by(signal);
        assert!(said.ends_with(" endings\n"), "{said}");
        assert_eq!(of(pid), [""; 0], "after {signal}");
    }
    let killed = start();
    let pid = killed.pid();
    let beside = start();
    drop(killed);
    // The kernel lets go of a killed process's files at once, or nearly.
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        start().stop();
        if of(pid).is_empty() {
            break;
        }
        assert!(Instant::now() < end, "{:?}", instances());
    }
    // Whoever lives keeps theirs.
    assert_eq!(of(beside.pid()).len(), 1, "{:?}", instances());
    beside.stop();
}
