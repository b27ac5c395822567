//! Programs in other languages, with what those offer: started as children that
//! accept the same peer's connections.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::unistd::Pid;

#[derive(Clone, Copy, Debug)]
pub(super) enum Language {
    Go,
    Node,
    Python,
}

/// A child that closes.
pub(crate) struct Foreign {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Language {
    /// The Debian package, the program that must be there, the file, its text.
    const fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Language::Go => ("golang-go", "go", "close.go", include_str!("close.go")),
            Language::Node => ("nodejs", "node", "close.mjs", include_str!("close.mjs")),
            Language::Python => ("python3", "python3", "close.py", include_str!("close.py")),
        }
    }

    fn command(self, dir: &Path) -> io::Result<Command> {
        let (_, program, file, text) = self.parts();
        fs::create_dir_all(dir)?;
        let source = dir.join(file);
        fs::write(&source, text)?;
        if !matches!(self, Language::Go) {
            let mut command = Command::new(program);
            command.arg(source);
            return Ok(command);
        }
        let binary = dir.join("close");
        let built = Command::new(program)
            .args(["build", "-o"])
            .args([&binary, &source])
            .env("GOCACHE", dir.join("cache"))
            .env("GO111MODULE", "off")
            .status()?;
        if !built.success() {
            return Err(io::Error::other(format!("go build: {built}")));
        }
        Ok(Command::new(binary))
    }
}

impl Foreign {
    /// # Errors
    /// Of kind `NotFound`, saying what to install, where the language is not to
    /// be had here.
    pub(super) fn start(language: Language) -> io::Result<Self> {
        let (package, program, ..) = language.parts();
        let name = format!("lastbyte-bench-{program}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let started = Self::start_in(language, &dir);
        // What runs needs its file no longer.
        let _ = fs::remove_dir_all(&dir);
        started.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::new(
                io::ErrorKind::NotFound,
                format!("{program} is not installed (Debian: {package})"),
            ),
            _ => error,
        })
    }

    fn start_in(language: Language, dir: &Path) -> io::Result<Self> {
        let mut child = language
            .command(dir)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let to = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let from = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut foreign = Self {
            child,
            to,
            from: BufReader::new(from),
            address: ([127, 0, 0, 1], 0).into(),
        };
        let port = foreign.line()?.trim().parse().map_err(io::Error::other)?;
        foreign.address.set_port(port);
        Ok(foreign)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it do something: `accept N`, `respond BYTES`, `close`, `serve N`
    /// (answered twice, when it begins and when it is done).
    pub(crate) fn tell(&mut self, command: &str) -> io::Result<()> {
        writeln!(self.to, "{command}")
    }

    /// Waits until it has done it.
    pub(crate) fn answer(&mut self) -> io::Result<()> {
        match self.line()?.trim() {
            "ok" => Ok(()),
            other => Err(io::Error::other(format!("the program says: {other}"))),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.from.read_line(&mut line)? {
            0 => Err(io::Error::other("the program has ended")),
            _ => Ok(line),
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
