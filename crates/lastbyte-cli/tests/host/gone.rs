//! Standard error and standard output that nobody reads, or that are full.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::space::{Space, interrupt};

/// A pipe whose reader has gone.
fn unread() -> Stdio {
    let (_, writer) = std::io::pipe().expect("a pipe can be made");
    writer.into()
}

fn full() -> Stdio {
    let full = OpenOptions::new().write(true).open("/dev/full");
    full.expect("every Linux has it").into()
}

fn watch(space: &Space) -> Command {
    let mut command = space.command(env!("CARGO_BIN_EXE_lastbyte"));
    command.args(["watch", "--json", "--prometheus", "0.0.0.0:0"]);
    command
}

/// One connection that begins and ends.
fn connection(space: &Space) {
    let script = "import socket\n\
                  server = socket.create_server(('127.0.0.1', 0))\n\
                  client = socket.create_connection(server.getsockname())\n\
                  server.accept()[0].close()\n\
                  client.close()";
    let status = space.command("python3").args(["-c", script]).status();
    assert!(status.expect("python3 starts").success());
}

/// Makes connections until the watch has ended.
fn until_end(space: &Space, child: &mut Child) -> std::process::ExitStatus {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            return status;
        }
        assert!(Instant::now() < end, "it goes on without a reader");
        connection(space);
    }
}

/// It panicked at the first note that it could not print.
pub(crate) fn watch_goes_on_without_standard_error() {
    for stderr in [unread(), full()] {
        let space = Space::new();
        let child = watch(&space).stdout(Stdio::piped()).stderr(stderr).spawn();
        let mut child = child.expect("the command starts");
        let out = child.stdout.take().expect("stdout is piped");
        let first = std::thread::spawn(move || {
            let mut line = String::new();
            let mut out = BufReader::new(out);
            out.read_line(&mut line).expect("stdout can be read");
            (line, out)
        });
        while !first.is_finished() {
            let status = child.try_wait().expect("it is ours");
            assert_eq!(status, None, "it ended");
            connection(&space);
        }
        let (line, mut rest) = first.join().expect("the reader does not panic");
        assert!(line.contains("\"fate\":"), "{line}");
        interrupt(child.id());
        // What is read here is not looked at: all must be taken for it to end.
        let _ = rest.read_to_string(&mut String::new());
        let status = child.wait().expect("it can be waited for");
        assert!(status.success(), "{status}");
    }
}

/// A reader that has gone ends it by SIGPIPE, a full disk with an error; neither is a panic.
pub(crate) fn watch_ends_without_standard_output() {
    for (stdout, by, message) in [
        (unread(), Some(Signal::SIGPIPE as i32), None),
        (full(), None, Some("cannot write to standard output")),
    ] {
        let space = Space::new();
        let child = watch(&space).stdout(stdout).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the command starts");
        let status = until_end(&space, &mut child);
        let mut errors = String::new();
        let mut stderr = child.stderr.take().expect("stderr is piped");
        stderr.read_to_string(&mut errors).expect("it can be read");
        assert!(!errors.contains("panicked"), "{errors}");
        assert_eq!(status.signal(), by, "{status}: {errors}");
        assert!(
            message.is_none_or(|message| errors.contains(message)),
            "{errors}"
        );
        assert!(by.is_some() || status.code() == Some(2), "{status}");
    }
}
