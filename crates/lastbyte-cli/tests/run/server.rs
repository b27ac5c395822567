//! A server under `lastbyte run`: started, waited for, stopped by its own pid.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lastbyte_testkit::need;

use crate::harness::{LONG, lastbyte, scratch, text};

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|one| one.local_addr())
        .expect("loopback")
        .port()
}

/// A server under `lastbyte run`.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) port: u16,
    folder: PathBuf,
}

impl Server {
    /// Starts it, its output going to a file, and waits until it listens.
    pub(crate) fn start(
        name: &str,
        program: &[&str],
        make: impl FnOnce(u16, &PathBuf) -> Vec<String>,
    ) -> Self {
        if program[0] == "python3" {
            need("python3", "python3");
        }
        let port = free_port();
        let folder = scratch().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let arguments = make(port, &folder);
        let output = fs::File::create(folder.join("output")).expect("a file");
        let child = lastbyte()
            .args(["run", "--summary", "--"])
            .args(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a copy"))
            .stderr(output)
            // Apache signals its whole group when it ends.
            .process_group(0)
            .spawn()
            .expect("it starts");
        let mut server = Self {
            child: Some(child),
            port,
            folder,
        };
        server.wait_for(|port| TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    fn wait_for(&mut self, is_up: impl Fn(u16) -> bool) {
        let until = Instant::now() + LONG;
        while !is_up(self.port) {
            let child = self.child.as_mut().expect("running");
            if let Some(status) = child.try_wait().expect("our child") {
                panic!("the server ended: {status}\n{}", self.output());
            }
            assert!(
                Instant::now() < until,
                "the server does not listen\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.folder.join("output")).unwrap_or_default()
    }

    /// Descriptors of the server process itself.
    pub(crate) fn descriptors(&self) -> usize {
        let parent = self.child.as_ref().expect("running").id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.expect("/proc lists children");
        let server = children.split_whitespace().next().expect("the server runs");
        fs::read_dir(format!("/proc/{server}/fd"))
            .expect("ours")
            .count()
    }

    /// Waits until the server has closed what it opened for its clients.
    pub(crate) fn comes_down_to(&self, most: usize) {
        let until = Instant::now() + LONG;
        while self.descriptors() > most {
            assert!(
                Instant::now() < until,
                "{} descriptors, {most} before",
                self.descriptors()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it by `signal` and returns its status and what it printed.
    pub(crate) fn stop(mut self, signal: libc::c_int) -> (Option<i32>, String) {
        let mut child = self.child.take().expect("running");
        let pid = libc::pid_t::try_from(child.id()).expect("a pid");
        // SAFETY: our own child, not waited for yet.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        let until = Instant::now() + LONG;
        let status = loop {
            if let Some(status) = child.try_wait().expect("our child") {
                break status;
            }
            assert!(
                Instant::now() < until,
                "the server does not end\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        let output = self.output();
        // A forked child that has just answered may be on its way out.
        let until = Instant::now() + LONG;
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            assert!(Instant::now() < until, "a process was left behind");
            std::thread::sleep(Duration::from_millis(20));
        }
        (status.code(), output)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = libc::pid_t::try_from(child.id()).expect("a pid");
            // SAFETY: our own child, not waited for yet; it passes the signal on.
            unsafe { libc::kill(pid, libc::SIGTERM) };
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        text(&output).1
    );
    text(&output).0
}
