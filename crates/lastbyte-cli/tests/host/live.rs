//! The live view, seen as a user sees it: in a terminal of 80×24, through tmux.

use std::cell::Cell;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lastbyte_testkit::need;

use crate::flood;
use crate::instances;
use crate::space::{Space, text};
use crate::story::{PYTHON, Role, SCRIPT};

/// A tmux server of its own, ended on drop.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn start(space: &Space, command: &str) -> Self {
        Self::of_size(("80", "24"), space, command)
    }

    fn of_size((width, height): (&str, &str), space: &Space, command: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        need("tmux", "tmux");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let terminal = Self {
            socket: format!("lastbyte-test-{}-{number}", std::process::id()),
        };
        let line = format!("ip netns exec {} {command}", space.name());
        terminal.tmux(&["new-session", "-d", "-x", width, "-y", height, &line]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-f", "/dev/null", "-L", &self.socket])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .output()
            .expect("it starts");
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

/// The flood, ended at the latest on drop.
struct Load(Child);

impl Load {
    fn start(space: &Space, connections: u32) -> Self {
        let load = flood::load(space, connections, false).spawn();
        Self(load.expect("the load runs"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Threads that leave a machine of two CPUs little time for anything else.
struct Hogs {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Hogs {
    fn start(number: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let spin = || {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..number).map(|_| spin()).collect();
        Self { over, threads }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
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

/// Endings that were dropped, as the title says.
fn dropped(screen: &str) -> u64 {
    let title = screen.lines().next().unwrap_or_default();
    let number = title
        .split_once("DROPPED ")
        .and_then(|(_, rest)| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// All endings so far, in the title.
fn total(screen: &str) -> u64 {
    let number = screen
        .strip_prefix("lastbyte watch  ")
        .and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

pub(crate) fn view() {
    usable(0);
}

pub(crate) fn view_beside_busy_loops() {
    usable(2);
}

fn usable(hogs: usize) {
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

    // Sockets stuck now, both ends of three, with owner, age and descriptor. Each is
    // listed once it has been so for a second.
    terminal.until("leak", |screen| {
        let leaks = screen.lines().filter(|l| {
            l.starts_with("CLOSE_WAIT") && l.contains("leaky[") && l.contains(" 127.0.0.1:7001 ")
        });
        leaks.count() == 3 && screen.contains("Stuck now: 6")
    });

    // Over 10 000 endings a second, and still answering keys.
    let connections: u32 = 100_000;
    let busy = Hogs::start(hogs);
    let began = Instant::now();
    let mut load = Load::start(&space, connections);
    let fastest = Cell::new(0.0_f64);
    let note = |screen: &str| fastest.set(fastest.get().max(rate(screen)));
    let screen = terminal.until("endings by the thousand", |screen| {
        note(screen);
        total(screen) >= 1_000
    });
    println!("{screen}");
    // Keys are answered whatever the backlog.
    let (mut answers, mut glances) = (Vec::new(), Vec::new());
    let mut loaded = None;
    while loaded.is_none() {
        let asked = Instant::now();
        terminal.keys(&["/"]);
        let prompt = |screen: &str| screen.contains("filter (port:80");
        terminal.until("prompt", |screen| {
            note(screen);
            prompt(screen)
        });
        answers.push(asked.elapsed());
        terminal.keys(&["Escape"]);
        terminal.until("closed prompt", |screen| !prompt(screen));
        // What tmux alone needs.
        let asked = Instant::now();
        note(&terminal.screen());
        glances.push(asked.elapsed());
        loaded = load.0.try_wait().expect("it can be waited for");
    }
    let load_took = began.elapsed();
    assert!(loaded.is_some_and(|status| status.success()));
    let usual = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() - 1])
    };
    let (answer, slowest) = usual(&mut answers);
    let (glance, slowest_glance) = usual(&mut glances);
    println!(
        "{hogs} busy loops: {} keys answered under load in {answer:.0?}, the slowest in \
         {slowest:.0?}; of that one look through tmux takes {glance:.0?}, the slowest \
         {slowest_glance:.0?}",
        answers.len(),
    );
    assert!(slowest < Duration::from_secs(10), "keys wait: {answers:?}");
    // A machine that gives the view no time at all may drop some: then it says so.
    let endings = u64::from(connections) * 2;
    let screen = terminal.until("all endings", |screen| {
        note(screen);
        total(screen) + dropped(screen) >= endings
    });
    let all_took = began.elapsed();
    let told = total(&screen);
    // Some second was not slower than the mean; the first and last are not whole.
    let mean = told as f64 / (all_took.as_secs_f64() + 2.0);
    terminal.until("rate of the mean", |screen| {
        note(screen);
        fastest.get() >= mean
    });
    println!(
        "{endings} endings in {load_took:.1?}: {:.0}/s; told {told} in {all_took:.1?}, at the most \
         {:.0}/s: {}",
        endings as f64 / load_took.as_secs_f64(),
        fastest.get(),
        screen.lines().next().unwrap_or_default()
    );
    assert!(screen.contains("TIME_WAIT"), "{screen}");

    terminal.keys(&["/"]);
    terminal.until("prompt", |screen| screen.contains("filter (port:80"));
    terminal.keys(&["-l", "fate:confirmed port:7001"]);
    terminal.until("typed text", |screen| screen.contains("port:7001_"));
    terminal.keys(&["Enter"]);
    // The filter is shown, and holds in every pane: its sums begin anew.
    let screen = terminal.until("filtered panes", |screen| {
        screen.matches("[port:7001 fate:confirmed]").count() == 3 && screen.contains("Stuck now: 6")
    });
    assert!(
        screen.contains("Processes, by bytes lost, since "),
        "{screen}"
    );
    drop(busy);

    // The offenders' pane, sorted by another column; then back and one ending opened.
    terminal.keys(&["/"]);
    terminal.keys(&["C-u", "Enter"]);
    terminal.until("no filter", |screen| !screen.contains("[port:7001"));
    terminal.keys(&["?"]);
    terminal.until("help", |screen| screen.contains("Help (any key closes)"));
    terminal.keys(&["x"]);
    terminal.until("no help", |screen| !screen.contains("Help"));
    terminal.keys(&["Tab", "z"]);
    terminal.until("one pane", |screen| {
        screen.contains("> Processes") && !screen.contains("Endings,") && !screen.contains("Stuck")
    });
    terminal.keys(&["r"]);
    terminal.until("the least first", |screen| {
        screen.contains("lost, least first")
    });
    terminal.keys(&["r", "z"]);
    terminal.until("all panes", |screen| screen.contains("Stuck now"));
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

/// A wide screen has room for the numbers and for why.
pub(crate) fn wide() {
    let space = Space::new();
    let binary = env!("CARGO_BIN_EXE_lastbyte");
    let terminal = Terminal::of_size(("160", "50"), &space, &format!("{binary} watch"));
    terminal.until("title", |screen| screen.starts_with("lastbyte watch"));
    let script = "
import select, socket
listener = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(listener.getsockname())
server = listener.accept()[0]
server.sendall(b'x' * 70)
assert select.select([client], [], [], 10)[0]
client.close()
";
    let status = space.command(PYTHON).args(["-c", script]).status();
    assert!(status.is_ok_and(|status| status.success()));
    let screen = terminal.until("why", |screen| screen.contains("closed with unread input"));
    let row = screen
        .lines()
        .find(|line| line.contains(" aborted ") && line.contains("127.0.0.1:"));
    let row: Vec<_> = row.unwrap_or_default().split_whitespace().collect();
    // Time, fate, unread, process, both ends, who was first, sent, received, evidence.
    assert_eq!((row[1], row[2]), ("aborted", "70"), "{screen}");
    assert_eq!(row[6..10], ["local", "0", "70", "observed"], "{screen}");
    for title in ["UNREAD", "PROCESS", "REMOTE", "SENT", "EVIDENCE", "WHY"] {
        assert!(screen.contains(title), "{title} is not in\n{screen}");
    }
    let total = screen.lines().nth(3).unwrap_or_default();
    assert!(total.starts_with("in all"), "{screen}");
    terminal.keys(&["q"]);
}

/// A view whose terminal had gone went on for ever, and took a whole CPU for it; SIGHUP
/// alone did not end it.
pub(crate) fn ends_with_its_terminal() {
    let space = Space::new();
    let binary = env!("CARGO_BIN_EXE_lastbyte");
    for command in [
        format!("{binary} watch"),
        // As under nohup: nothing but the terminal tells it.
        format!("sh -c \"trap '' HUP; exec {binary} watch\""),
    ] {
        let terminal = Terminal::start(&space, &command);
        terminal.until("title", |screen| screen.starts_with("lastbyte watch"));
        let pid = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let pid: u32 = pid.trim().parse().expect("a pid");
        assert_eq!(instances::of(pid).len(), 1, "{command}");
        terminal.tmux(&["kill-server"]);
        let end = Instant::now() + Duration::from_secs(20);
        while std::path::Path::new(&format!("/proc/{pid}")).exists() {
            if Instant::now() > end {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
                panic!("{command} goes on without its terminal");
            }
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(instances::of(pid), [""; 0], "{command}");
    }
}
