//! The live view, seen as a user sees it: in a terminal of 80×24, through tmux.

use std::cell::Cell;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::flood;
use crate::space::{Space, text};
use crate::story::{PYTHON, Role, SCRIPT};

/// A tmux server of its own, ended on drop.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn start(space: &Space, command: &str) -> Self {
        let terminal = Self {
            socket: format!("lastbyte-test-{}", std::process::id()),
        };
        let line = format!("ip netns exec {} {command}", space.name());
        terminal.tmux(&["new-session", "-d", "-x", "80", "-y", "24", &line]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-f", "/dev/null", "-L", &self.socket])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .output()
            .expect("tmux is installed (apt install tmux)");
        assert!(
            output.status.success(),
            "tmux {arguments:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until the screen shows what is wanted.
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "no {what} on the screen:\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_over(&self) -> bool {
        let sessions = Command::new("tmux")
            .args(["-L", &self.socket, "list-sessions"])
            .output();
        sessions.is_ok_and(|output| !output.status.success())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", &self.socket, "kill-server"])
            .output();
    }
}

/// The endings per second in the title.
fn rate(screen: &str) -> f64 {
    let title = screen.lines().next().unwrap_or_default();
    let word = title
        .split_whitespace()
        .find_map(|word| word.strip_suffix("/s"));
    word.and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// All endings so far, in the title.
fn total(screen: &str) -> u64 {
    let number = screen
        .strip_prefix("lastbyte watch  ")
        .and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

pub(crate) fn view() {
    const LEAKY: &str = "127.0.0.1";
    let space = Space::new();
    let python = |arguments: &[&str]| {
        let mut command = space.command(PYTHON);
        command.args(["-c", SCRIPT]);
        Role::play(command, arguments)
    };
    let _leaky = python(&["leaky", LEAKY, "7001"]);
    let _visitor = python(&["visit", LEAKY, "7001", "3"]);

    let binary = env!("CARGO_BIN_EXE_lastbyte");
    let terminal = Terminal::start(&space, &format!("{binary} watch"));
    let screen = terminal.until("title", |screen| screen.starts_with("lastbyte watch"));
    assert!(
        screen.lines().all(|line| line.chars().count() <= 80),
        "{screen}"
    );

    // Sockets stuck now, with owner, age and descriptor.
    let screen = terminal.until("leak", |screen| {
        screen
            .lines()
            .filter(|l| l.starts_with("CLOSE_WAIT") && l.contains("leaky[") && l.contains(" fd "))
            .count()
            == 3
    });
    assert!(
        screen.contains("Stuck now: 6"),
        "both ends of three: {screen}"
    );

    // Over 10 000 endings a second, and still answering keys. The tracepoints are
    // the whole machine's, so the full flood is for a machine that has nothing
    // else to do.
    let long = std::env::var_os("LASTBYTE_LONG_TESTS").is_some();
    let connections: u32 = if long { 100_000 } else { 2_000 };
    let mut load = flood::load(&space, connections, false)
        .spawn()
        .expect("the load runs");
    let fastest = Cell::new(0.0_f64);
    let note = |screen: &str| fastest.set(fastest.get().max(rate(screen)));
    let screen = terminal.until("endings by the thousand", |screen| {
        note(screen);
        total(screen) >= 1_000
    });
    println!("{screen}");
    let asked = Instant::now();
    terminal.keys(&["/"]);
    terminal.until("prompt", |screen| screen.contains("filter (port:80"));
    println!("a key was answered in {:?} under load", asked.elapsed());
    terminal.keys(&["-l", "fate:confirmed port:7001"]);
    terminal.until("typed text", |screen| screen.contains("port:7001_"));
    terminal.keys(&["Enter"]);
    terminal.until("filtered list", |screen| !screen.contains("confirmed  127"));
    assert!(load.wait().is_ok_and(|status| status.success()));
    // A machine that gives the view no time at all may drop some: then it says so.
    let screen = terminal.until("all endings", |screen| {
        note(screen);
        total(screen) >= u64::from(connections) * 2 || screen.contains("DROPPED")
    });
    let told = total(&screen);
    println!(
        "the most on the screen: {:.0} endings a second",
        fastest.get()
    );
    if long {
        assert!(fastest.get() > 10_000.0, "{screen}");
    }
    assert!(screen.contains("TIME_WAIT"), "{screen}");

    // The offenders' pane, sorted by another column; then back and one ending opened.
    terminal.keys(&["/"]);
    terminal.keys(&["Enter"]);
    terminal.keys(&["Tab"]);
    terminal.keys(&["s"]);
    terminal.until("other order", |screen| {
        screen.contains("Processes, by resets sent")
    });
    terminal.keys(&["Tab"]);
    terminal.keys(&["Tab"]);
    let status = flood::load(&space, 40, false)
        .status()
        .expect("the load runs");
    assert!(status.success());
    terminal.until("more endings", |screen| total(screen) >= told + 80);
    terminal.keys(&["Down"]);
    terminal.keys(&["Enter"]);
    let screen = terminal.until("opened ending", |screen| {
        screen.contains("Ending (Esc closes)")
    });
    for line in [
        "fate          confirmed",
        "closed by     host-",
        "evidence      observed",
    ] {
        assert!(screen.contains(line), "{line} is not in\n{screen}");
    }
    terminal.keys(&["Escape"]);
    terminal.until("closed ending", |screen| !screen.contains("Esc closes"));
    terminal.keys(&["q"]);
    let end = Instant::now() + Duration::from_secs(10);
    while !terminal.is_over() {
        assert!(
            Instant::now() < end,
            "q does not quit:\n{}",
            terminal.screen()
        );
        thread::sleep(Duration::from_millis(20));
    }
}
