//! Processes in namespaces of their own, each of which plays many cells at a time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use lastbyte_matrix::axes::{Cell, Waits, Who};
use lastbyte_matrix::judge::{Shape, Verdict, judge};
use lastbyte_matrix::scene::{Seen, play};
use lastbyte_matrix::stage::{Programs, Stage, enter, has_mptcp};
use serde_json::{Value, json};

/// Names the worker's work in its environment.
const ENV: &str = "LASTBYTE_MATRIX_WORKER";
/// Cells that share a namespace at a time.
const EACH: usize = 8;
/// No cell takes longer, its controls included.
const LONG: Duration = Duration::from_secs(300);

/// What became of a cell.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) kind: String,
    pub(crate) text: String,
}

type Waiting = Arc<Mutex<HashMap<String, mpsc::Sender<Answer>>>>;

struct Worker {
    child: Child,
    input: Mutex<ChildStdin>,
    waiting: Waiting,
}

pub(crate) struct Workers {
    workers: Vec<Worker>,
    next: AtomicUsize,
}

impl Workers {
    /// As many as `cells` at a time need.
    pub(crate) fn new(programs: Programs, cells: usize) -> Self {
        let workers = (0..cells.div_ceil(EACH)).map(|_| Worker::start(&programs));
        Self {
            workers: workers.collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Plays a cell.
    pub(crate) fn play(&self, cell: &Cell) -> Result<Answer, String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let worker = self.workers.get(number % self.workers.len().max(1));
        let worker = worker.ok_or("there are no workers")?;
        let (send, answer) = mpsc::channel();
        lock(&worker.waiting).insert(cell.to_string(), send);
        writeln!(lock(&worker.input), "{cell}").map_err(|error| format!("a worker: {error}"))?;
        answer
            .recv_timeout(LONG)
            .map_err(|_| "the worker did not answer".into())
    }
}

impl Worker {
    fn start(programs: &Programs) -> Self {
        let paths = json!([programs.plain, programs.library, programs.command]);
        let mut child = Command::new("/proc/self/exe")
            .env(ENV, paths.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started once more");
        let waiting = Waiting::default();
        let input = Mutex::new(child.stdin.take().expect("piped"));
        let output = child.stdout.take().expect("piped");
        let theirs = Arc::clone(&waiting);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((name, answer)) = read_answer(&line)
                    && let Some(send) = lock(&theirs).remove(&name)
                {
                    let _ = send.send(answer);
                }
            }
            // Nobody else answers: whoever waits learns it.
            lock(&theirs).clear();
        });
        Self {
            child,
            input,
            waiting,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_answer(line: &str) -> Option<(String, Answer)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
    Some((
        text("cell")?,
        Answer {
            kind: text("kind")?,
            text: text("text")?,
        },
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer's kind where no cell can be played.
pub(crate) const NO_STAGE: &str = "no stage";

/// Does a worker's work where this process is one.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let paths: Vec<String> = serde_json::from_str(&std::env::var(ENV).ok()?).ok()?;
    let [plain, library, command] = paths.try_into().ok()?;
    let programs = Programs {
        plain: plain.into(),
        library: library.into(),
        command: command.into(),
    };
    let stage = enter().and_then(|()| Stage::new(programs).map_err(|error| error.to_string()));
    let stage = Arc::new(stage);
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let stage = Arc::clone(&stage);
        std::thread::spawn(move || {
            let (kind, text) = match &*stage {
                Ok(stage) => answer(stage, &line),
                Err(why) => (
                    NO_STAGE.into(),
                    format!("no private namespace to play in: {why}"),
                ),
            };
            println!("{}", json!({ "cell": line, "kind": kind, "text": text }));
        });
    }
    Some(ExitCode::SUCCESS)
}

/// What the kernel did, each time that it was played.
static CONTROLS: LazyLock<Mutex<HashMap<Cell, Vec<Shape>>>> = LazyLock::new(Mutex::default);

fn verdict(stage: &Stage, seen: &Seen) -> Verdict {
    let mut played = HashMap::new();
    let mut tries = 0;
    judge(seen, &mut || {
        tries += 1;
        let control = control(&seen.cell, tries);
        let times: &mut usize = played.entry(control).or_default();
        let known = lock(&CONTROLS)
            .get(&control)
            .and_then(|shapes| shapes.get(*times).copied());
        *times += 1;
        known.or_else(|| {
            let shape = Shape::of(&play(stage, &control).ok()?);
            lock(&CONTROLS).entry(control).or_default().push(shape);
            Some(shape)
        })
    })
}

/// What the kernel is asked to do at a try. A busy machine may let the peer's late input
/// come before a close that waits has begun, and nothing shows that: then it was unread.
fn control(cell: &Cell, tries: usize) -> Cell {
    let control = cell.control();
    let early = Cell {
        waits: Waits::Unread,
        ..control
    };
    if tries == 2 && cell.waits == Waits::Late && early.senseless().is_none() {
        early
    } else {
        control
    }
}

/// The kernel's, and nothing was asked: then the same with somebody who asks must be
/// the kernel's too, and say so.
fn with_a_witness(stage: &Stage, cell: &Cell) -> Verdict {
    let who = if cell.who.is_form() {
        Who::Closing
    } else {
        Who::RunLog
    };
    let twin = Cell { who, ..*cell };
    match play(stage, &twin).map(|seen| verdict(stage, &seen)) {
        // Whose packet comes first may have decided for the contract this time.
        Ok(Verdict::Kernels | Verdict::Kept(_)) => Verdict::Unasked,
        Ok(other) => Verdict::Wrong(vec![format!(
            "it is the kernel's, but with {}: {other}",
            who.as_str()
        )]),
        Err(why) => Verdict::Wrong(vec![format!("the stage failed: {why}")]),
    }
}

fn answer(stage: &Stage, name: &str) -> (String, String) {
    let cell: Cell = match name.parse() {
        Ok(cell) => cell,
        Err(why) => return ("WRONG".into(), why),
    };
    if let Some(why) = cell.senseless() {
        return ("not applicable".into(), why.into());
    }
    if cell.came.multi() && !has_mptcp() {
        return ("not applicable".into(), "this kernel has no MPTCP".into());
    }
    let seen = match play(stage, &cell) {
        Ok(seen) => seen,
        Err(why) => return ("WRONG".into(), format!("the stage failed: {why}")),
    };
    let verdict = match verdict(stage, &seen) {
        Verdict::Unasked => with_a_witness(stage, &cell),
        verdict => verdict,
    };
    let mut text = verdict.to_string();
    if matches!(verdict, Verdict::Wrong(_)) {
        text.push_str(&format!(
            "\n  rerun: cargo test -p lastbyte-matrix --test matrix -- {cell}\n    {}",
            seen.wire.story()
        ));
    }
    (verdict.kind().into(), text)
}
