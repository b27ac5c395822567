//! Scenes in two acts: what was there before the watch began, and what happened then.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use lastbyte_testkit::{ignore, need};
use serde_json::Value;

use crate::mix::{by_ends, ends, wrong_fields};
use crate::space::{Binary, Space, Watch};
use crate::story::PYTHON;

const SCRIPT: &str = include_str!("scenes.py");
const SOCKETS: &str = include_str!("sockets.py");

/// A scene whose first act is over.
pub(crate) struct Scene {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Scene {
    pub(crate) fn begin(mut python: Command, script: &Path, name: &str) -> Self {
        let mut child = python
            .arg(script)
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut scene = Self { child, out };
        assert_eq!(scene.line(), "ready\n", "{name} did not begin");
        scene
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it can be read");
        line
    }

    /// The second act; what each end truly was.
    pub(crate) fn play(mut self) -> Vec<Value> {
        let input = self.child.stdin.as_mut().expect("stdin is piped");
        input.write_all(b"\n").expect("it reads");
        let lines = (&mut self.out).lines();
        let truths: Vec<Value> = lines
            .map(|line| serde_json::from_str(&line.expect("it is read")).expect("it is JSON"))
            .collect();
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.success() && !truths.is_empty(), "the scene failed");
        truths
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The scripts, where any user can read them.
pub(crate) fn script(binary: &Binary) -> std::path::PathBuf {
    binary.beside("sockets.py", SOCKETS);
    binary.beside("scenes.py", SCRIPT)
}

/// What the watch told wrong of these ends.
pub(crate) fn wrong(truths: &[Value], lines: Vec<Value>) -> Vec<String> {
    let told = by_ends(lines);
    truths
        .iter()
        .flat_map(|truth| match told.get(&ends(truth)) {
            Some(ending) => wrong_fields(truth, ending),
            None => vec![format!("{}: not told", truth["name"])],
        })
        .collect()
}

fn play(name: &str) {
    play_to(name, |space, binary| space.command(binary.path()));
}

/// Plays to a watch that is started so; what that said.
fn play_to(name: &str, watch: impl FnOnce(&Space, &Binary) -> Command) -> String {
    let space = Space::new();
    let binary = Binary::new();
    let script = script(&binary);
    let scene = Scene::begin(space.command(PYTHON), &script, name);
    let watch = Watch::start(watch(&space, &binary), &["--json"]);
    let truths = scene.play();
    watch.settle(truths.len());
    let (lines, said) = watch.stop();
    let wrong = wrong(&truths, lines);
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
    said
}

/// Each was told as observed; a reset of one older than the watch as given up.
pub(crate) fn older_than_the_watch() {
    play("older");
}

/// perf gives other processes pid 0 there, as it does the idle task: all was inferred.
pub(crate) fn in_a_pid_namespace_of_its_own() {
    for mount_proc in [true, false] {
        let said = play_to("strangers", |space, binary| {
            let mut command = space.command("unshare");
            command.args(["--pid", "--fork"]);
            command.args(mount_proc.then_some("--mount-proc"));
            command.arg(binary.path());
            command
        });
        let expected = match mount_proc {
            true => "a pid namespace of its own",
            false => "/proc is of another pid namespace",
        };
        assert!(said.contains(expected), "{said}");
    }
}

/// Both ends told that they had closed first.
pub(crate) fn crossing_fins() {
    play("crossing");
}

/// The killer was told as the owner, and its RST as a close with SO_LINGER.
pub(crate) fn destroyed_from_outside() {
    need("ss", "iproute2");
    play("destroyed");
}

/// A clean end was told as given up.
pub(crate) fn disconnected_after_the_end() {
    play("disconnected");
}

/// Subflows were told as connections of their own: unread input as read, a thread of the
/// kernel as who closed, a clean end as given up.
pub(crate) fn multipath() {
    if !std::fs::read_to_string("/proc/sys/net/mptcp/enabled").is_ok_and(|on| on.trim() == "1") {
        ignore("this kernel has no MPTCP");
    }
    play("multipath");
}
