//! A network namespace that lives as long as its value, and commands in it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lastbyte_testkit::{ignore, need};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The ordinary user.
const NOBODY: u32 = 65534;

pub(crate) struct Space {
    name: String,
}

impl Space {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        need("ip", "iproute2");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lastbyte-{}-{number}", std::process::id());
        let added = Command::new("ip")
            .args(["netns", "add", &name])
            .output()
            .expect("it starts");
        if !added.status.success() {
            // Root of a container, for example.
            ignore(&format!(
                "no network namespace can be made here: {}",
                text(&added.stderr).trim()
            ));
        }
        let space = Self { name };
        ip(&["-n", &space.name, "link", "set", "lo", "up"]);
        space
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Two, joined by a virtual Ethernet cable, with an address each.
    pub(crate) fn pair(address: &str, other: &str) -> (Self, Self) {
        let pair = (Self::new(), Self::new());
        let (a, b) = (&pair.0.name, &pair.1.name);
        ip(&[
            "-n", a, "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", b,
        ]);
        for (name, address) in [(a, address), (b, other)] {
            ip(&[
                "-n",
                name,
                "address",
                "add",
                &format!("{address}/24"),
                "dev",
                "eth0",
            ]);
            ip(&["-n", name, "link", "set", "eth0", "up"]);
        }
        pair
    }

    /// A program in the namespace, as root.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program.as_ref());
        command
    }

    /// A program in the namespace, as an ordinary user.
    pub(crate) fn command_as_user(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.command("setpriv");
        command
            .arg(format!("--reuid={NOBODY}"))
            .arg(format!("--regid={NOBODY}"))
            .args(["--clear-groups", "--"])
            .arg(program.as_ref());
        command
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.name]);
    }
}

pub(crate) fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "ip {arguments:?}: {}",
        text(&output.stderr)
    );
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running `lastbyte watch`, stopped by SIGINT or, at the latest, on drop.
pub(crate) struct Watch {
    child: Option<Child>,
    errors: BufReader<std::process::ChildStderr>,
    said: String,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<thread::JoinHandle<std::io::Result<()>>>,
}

impl Watch {
    /// Starts it and waits until it says that it watches.
    pub(crate) fn start(mut command: Command, arguments: &[&str]) -> Self {
        let mut child = command
            .arg("watch")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in out.lines() {
                shared.lock().expect("nobody panics with it").push(line?);
            }
            Ok(())
        });
        let mut watch = Self {
            child: Some(child),
            errors,
            said: String::new(),
            lines,
            reader: Some(reader),
        };
        while !watch.said.ends_with("watching\n") {
            let read = watch
                .errors
                .read_line(&mut watch.said)
                .expect("stderr can be read");
            assert_ne!(read, 0, "watch ended before it began: {}", watch.said);
        }
        watch
    }

    /// What it said on stderr before it began.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// Waits until it says this on stderr.
    pub(crate) fn until_said(&mut self, what: &str) {
        while !self.said.contains(what) {
            let read = self
                .errors
                .read_line(&mut self.said)
                .expect("stderr can be read");
            assert_ne!(read, 0, "it ended without {what}: {}", self.said);
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("only stop takes it").id()
    }

    /// Waits until it has told `number` endings, or no more for a while.
    pub(crate) fn settle(&self, number: usize) {
        let mut last = (0, Instant::now());
        loop {
            let now = self.lines.lock().expect("nobody panics with it").len();
            if now >= number || now == last.0 && last.1.elapsed() > Duration::from_secs(3) {
                return;
            }
            if now != last.0 {
                last = (now, Instant::now());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it; its JSON lines, and all it said on stderr.
    pub(crate) fn stop(self) -> (Vec<serde_json::Value>, String) {
        self.stop_by(Signal::SIGINT)
    }

    pub(crate) fn stop_by(mut self, signal: Signal) -> (Vec<serde_json::Value>, String) {
        let mut child = self.child.take().expect("only stop takes it");
        send(signal, innermost(child.id()));
        let mut said = std::mem::take(&mut self.said);
        self.errors
            .read_to_string(&mut said)
            .expect("stderr can be read");
        let status = child.wait().expect("it can be waited for");
        assert!(status.success(), "watch failed: {said}");
        let reader = self.reader.take().expect("only stop takes it");
        reader
            .join()
            .expect("the reader does not panic")
            .expect("stdout can be read");
        let lines = std::mem::take(&mut *self.lines.lock().expect("nobody panics with it"));
        let lines = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect();
        (lines, said)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// User and system time of a process so far.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is running");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("the name is in brackets")
        .split_whitespace()
        .collect();
    let ticks: f64 = [11, 12]
        .iter()
        .map(|at| fields[*at].parse::<f64>().expect("a number"))
        .sum();
    // USER_HZ is 100 on every Linux.
    ticks / 100.0
}

/// The most memory it ever had resident, in kB.
pub(crate) fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it is running");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("the kernel tells it")
}

pub(crate) fn interrupt(pid: u32) {
    send(Signal::SIGINT, pid);
}

fn send(signal: Signal, pid: u32) {
    let process = Pid::from_raw(pid.try_into().expect("a pid"));
    kill(process, signal).expect("it runs and is ours");
}

/// The process itself, or the only child of one that does nothing but wait for it.
fn innermost(pid: u32) -> u32 {
    let output = Command::new("ps")
        .args(["--ppid", &pid.to_string(), "-o", "pid="])
        .output()
        .expect("procps is installed");
    let child = text(&output.stdout).trim().parse().ok();
    child.map_or(pid, innermost)
}

/// A copy of the command that any user can reach and run.
pub(crate) struct Binary {
    folder: PathBuf,
}

impl Binary {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("lastbyte-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).expect("the temporary folder can be written");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&folder, open.clone()).expect("it is ours");
        let binary = Self { folder };
        // By another process: a child that a test beside this one starts would inherit the
        // descriptor that is written to, and the copy could not be run (ETXTBSY) until it
        // has called exec.
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_lastbyte"))
            .arg(binary.path())
            .status();
        assert!(copied.is_ok_and(|status| status.success()));
        std::fs::set_permissions(binary.path(), open).expect("it is ours");
        binary
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("lastbyte")
    }

    /// Another file beside it that any user can read.
    pub(crate) fn beside(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.join(name);
        std::fs::write(&path, text).expect("the folder is ours");
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, open).expect("it is ours");
        path
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
