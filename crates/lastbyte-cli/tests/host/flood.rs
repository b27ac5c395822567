//! Very many connections at full speed: every ending told exactly once, at what
//! cost, and within what memory.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use lastbyte_testkit::{need, succeed};

use crate::space::{Binary, Space, Watch, cpu_seconds, peak_memory};

/// Tells this program to be the load instead of the tests.
const ROLE: &str = "LASTBYTE_TEST_FLOOD";
const LANES: u8 = 4;

/// Runs the load if that is what this process was started for.
pub(crate) fn be_the_load() -> bool {
    let Some(number) = std::env::var(ROLE).ok().and_then(|n| n.parse::<u32>().ok()) else {
        return false;
    };
    let print = std::env::args().any(|argument| argument == "print");
    let lanes: Vec<_> = (1..=LANES)
        .map(|lane| thread::spawn(move || one_lane(lane, number / u32::from(LANES))))
        .collect();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for lane in lanes {
        for (local, remote) in lane.join().expect("a lane does not panic") {
            if print {
                writeln!(out, "{local} {remote}").expect("stdout is read");
            }
        }
    }
    out.flush().expect("stdout is read");
    true
}

/// Connections one after the other on an address of its own; the server closes
/// first, so that the client's ports are free again at once.
fn one_lane(lane: u8, number: u32) -> Vec<(SocketAddr, SocketAddr)> {
    let address = Ipv4Addr::new(127, 0, 0, lane);
    let listener = TcpListener::bind((address, 0)).expect("loopback has it");
    let remote = listener.local_addr().expect("it is bound");
    let server = thread::spawn(move || {
        let mut buffer = [0; 64];
        for _ in 0..number {
            let (mut stream, _) = listener.accept().expect("a client comes");
            stream.read_exact(&mut buffer).expect("it asks");
            stream.write_all(&buffer).expect("it listens");
        }
    });
    let mut ends = Vec::with_capacity(number as usize);
    let mut buffer = Vec::new();
    for _ in 0..number {
        let mut stream = TcpStream::connect(remote).expect("there is a listener");
        ends.push((stream.local_addr().expect("it is connected"), remote));
        stream.write_all(&[7; 64]).expect("the server reads");
        buffer.clear();
        stream
            .read_to_end(&mut buffer)
            .expect("the server answers and closes");
        assert_eq!(buffer.len(), 64);
    }
    server.join().expect("the server does not panic");
    ends
}

pub(crate) fn load(space: &Space, number: u32, print: bool) -> Command {
    let mut command = space.command(std::env::current_exe().expect("it is running"));
    command.env(ROLE, number.to_string());
    if print {
        command.arg("print");
    }
    command
}

pub(crate) fn as_root() {
    let space = Space::new();
    let binary = Binary::new();
    exactly_once(&space, space.command(binary.path()), "root");
}

pub(crate) fn as_user() {
    let space = Space::new();
    let binary = Binary::new();
    exactly_once(
        &space,
        space.command_as_user(binary.path()),
        "ordinary user",
    );
}

fn exactly_once(space: &Space, command: Command, who: &str) {
    const NUMBER: u32 = 50_000;
    need("ss", "iproute2");
    let watch = Watch::start(command, &["--json"]);
    let mut ss = space
        .command("ss")
        .args(["-H", "-t", "-n", "-E"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let ss_lines = BufReader::new(ss.stdout.take().expect("stdout is piped"));
    let ss_lines = thread::spawn(move || ss_lines.lines().count());
    let before = (cpu_seconds(watch.pid()), cpu_seconds(ss.id()));
    let began = Instant::now();
    let output = succeed(&mut load(space, NUMBER, true));
    let took = began.elapsed().as_secs_f64();
    let mut expected: HashMap<(String, String), i64> = HashMap::new();
    let mut clients = HashSet::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (local, remote) = line.split_once(' ').expect("two ends");
        clients.insert((local.to_owned(), remote.to_owned()));
        *expected.entry((local.into(), remote.into())).or_default() += 1;
        *expected.entry((remote.into(), local.into())).or_default() += 1;
    }
    watch.settle(2 * NUMBER as usize);
    let after = (cpu_seconds(watch.pid()), cpu_seconds(ss.id()));
    let peak = peak_memory(watch.pid());
    let _ = ss.kill();
    let _ = ss.wait();
    let ss_told = ss_lines.join().expect("the reader does not panic");
    let (lines, said) = watch.stop();
    let dropped = dropped(&said);
    let mut fates: HashMap<String, u64> = HashMap::new();
    for line in &lines {
        let end = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let ends = (end("local"), end("remote"));
        // The server closes first, and nobody resets. What is not known is null.
        let first = match clients.contains(&ends) {
            true => "peer",
            false => "local",
        };
        let known = |field: &str, truth: &str| line[field].is_null() || line[field] == truth;
        let right = known("closed_first", first) && known("rst_by", "none");
        let fate = match line["evidence"] == "observed" {
            true => line["fate"] == "confirmed",
            false => known("fate", "confirmed") || line["fate"] == "delivered",
        };
        assert!(right && fate, "{line}\n{said}");
        *expected.entry(ends).or_default() -= 1;
        *fates.entry(line["fate"].to_string()).or_default() += 1;
        assert_eq!(line["lost"], 0, "{line}");
    }
    let missing: i64 = expected.values().filter(|n| **n > 0).sum();
    let twice: i64 = -expected.values().filter(|n| **n < 0).sum::<i64>();
    let per_thousand = |seconds: f64, endings: usize| seconds * 1e6 / endings.max(1) as f64;
    println!(
        "{who}: {} endings of {NUMBER} connections in {took:.1} s, {missing} missing, {twice} too \
         many, {dropped} said to be dropped; CPU per 1 000 endings: watch {:.2} ms, ss -E {:.2} ms \
         ({ss_told} lines); peak memory {peak} kB; {fates:?}",
        lines.len(),
        per_thousand(after.0 - before.0, lines.len()),
        per_thousand(after.1 - before.1, ss_told),
    );
    // Where the kernel says that it dropped some, none may be invented.
    assert_eq!(twice, 0, "told twice");
    // Listeners and the like are among those dropped.
    assert!(
        missing.unsigned_abs() <= dropped,
        "{missing} lost, and {dropped} said: {said}"
    );
    assert!(who != "root" || missing == 0, "{missing} lost: {said}");
    // On a machine that is busy with other tests steps may be missed, and that said.
    let quiet = std::env::var_os("LASTBYTE_LONG_TESTS").is_some()
        && !said.contains("missed")
        && !said.contains("can be followed");
    if who == "root" && quiet {
        let all = HashMap::from([(r#""confirmed""#.to_owned(), 2 * u64::from(NUMBER))]);
        assert_eq!(fates, all, "{said}");
    }
}

/// How many endings a watch said that it had dropped, in all.
fn dropped(said: &str) -> u64 {
    let last = said.lines().rfind(|line| line.contains("endings dropped"));
    last.and_then(|line| line.strip_prefix("lastbyte: ")?.split(' ').next())
        .map_or(0, |number| number.parse().expect("a number"))
}

/// A million endings: memory at a tenth of the way, and at the end.
pub(crate) fn memory() {
    const ROUNDS: u32 = 10;
    let space = Space::new();
    let binary = Binary::new();
    let mut child = space
        .command(binary.path())
        .args(["watch", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut said = String::new();
    while !said.ends_with("watching\n") {
        assert_ne!(
            errors.read_line(&mut said).expect("it can be read"),
            0,
            "{said}"
        );
    }
    let lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let counter = thread::spawn(move || lines.lines().count());
    let mut sizes = Vec::new();
    for _ in 0..ROUNDS {
        let status = load(&space, 50_000, false).status().expect("the load runs");
        assert!(status.success());
        sizes.push(peak_memory(child.id()));
    }
    crate::space::interrupt(child.id());
    let endings = counter.join().expect("the reader does not panic");
    errors.read_to_string(&mut said).expect("it can be read");
    child.wait().expect("it can be waited for");
    println!("{endings} endings; peak memory in kB after each 100 000: {sizes:?}");
    assert!(endings >= 1_000_000, "{endings}: {said}");
    // A leak grows in every round; falling behind for a moment shows in one. Ten
    // bytes for each ending would be 1 MB in a round.
    let (early, late) = (&sizes[4..sizes.len() - 1], &sizes[5..]);
    let mut grown: Vec<_> = late.iter().zip(early).map(|(b, a)| b - a).collect();
    grown.sort_unstable();
    assert!(
        grown[grown.len() / 2] < 1 << 10,
        "memory grows: {sizes:?} kB"
    );
    let last = sizes[sizes.len() - 1];
    assert!(last < 256 << 10, "memory is not small: {sizes:?} kB");
}
