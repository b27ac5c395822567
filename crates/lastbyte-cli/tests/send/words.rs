//! Options, words and exit statuses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use lastbyte_lab::Stage;
use libtest_mimic::Failed;
use socket2::SockRef;

use crate::hundred::{BYTES, accept, listen};
use crate::sender::{LASTBYTE, Sender};

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn abort_tells_what_was_lost(stage: &Stage) -> Result<(), Failed> {
    let (listener, at) = listen(0, Some(4096))?;
    let sender = Sender::start(at, &["--linger", "abort"], BYTES)?;
    let (_peer, conn) = accept(&listener)?;
    let said = sender.end()?;
    said.check(stage, &conn, 1, "aborted")?;
    if said.number("lost")? == 0 {
        return Err(format!("nothing was lost: {}", said.report).into());
    }

    // Nothing written, nothing lost.
    let (listener, at) = listen(1, None)?;
    let sender = Sender::start(at, &["--linger", "abort"], 0)?;
    let (_peer, conn) = accept(&listener)?;
    sender.end()?.check(stage, &conn, 0, "aborted")
}

pub(crate) fn off_stays_until_the_fate(stage: &Stage) -> Result<(), Failed> {
    let (listener, at) = listen(0, Some(4096))?;
    let sender = Sender::start(at, &["--linger", "off"], BYTES)?;
    let (mut peer, conn) = accept(&listener)?;
    let got = peer.read_all(PATIENCE);
    if got.bytes != BYTES as u64 {
        return Err(format!("the peer got {got:?}").into());
    }
    peer.close();
    sender.end()?.check(stage, &conn, 0, "delivered")
}

/// The line for people.
pub(crate) fn one_line_says_it(_: &Stage) -> Result<(), Failed> {
    let (listener, at) = listen(0, None)?;
    let child = Command::new(LASTBYTE)
        .args(["send", "--confirm", &at.to_string(), "/proc/self/status"])
        .stdout(Stdio::piped())
        .spawn()?;
    let (peer, _) = accept(&listener)?;
    let mut text = Vec::new();
    let mut socket = peer.socket();
    socket.read_to_end(&mut text)?;
    peer.half_close()?;
    let output = child.wait_with_output()?;
    let line = String::from_utf8(output.stdout)?;
    let expected = format!("delivered {} bytes, FIN acked ", text.len());
    if line.starts_with(&expected) && line.ends_with(" ms after the last write, peer closed\n") {
        Ok(())
    } else {
        Err(format!("it said {line:?}").into())
    }
}

pub(crate) fn recv_says_how_it_ended(_: &Stage) -> Result<(), Failed> {
    for (reset, status, words) in [
        (false, 0, "lastbyte: EOF after 5 bytes"),
        (true, 1, "lastbyte: reset after "),
    ] {
        let mut child = Command::new(LASTBYTE)
            .arg("recv")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(child.stderr.take().ok_or("no standard error")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let at: SocketAddr = line
            .trim_end()
            .strip_prefix("lastbyte: listening on ")
            .ok_or_else(|| format!("it said {line:?}"))?
            .parse()?;
        if !at.ip().is_loopback() {
            return Err(format!("it listens on {at}").into());
        }
        let mut stream = TcpStream::connect(at)?;
        stream.write_all(b"bytes")?;
        if reset {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        drop(stream);
        let output = child.wait_with_output()?;
        let mut end = String::new();
        said.read_to_string(&mut end)?;
        if output.status.code() != Some(status) || !end.starts_with(words) {
            return Err(format!("status {:?}, it said {end:?}", output.status).into());
        }
        if !reset && output.stdout != b"bytes" {
            return Err(format!("it wrote {:?}", output.stdout).into());
        }
    }
    Ok(())
}

pub(crate) fn usage_is_status_2(_: &Stage) -> Result<(), Failed> {
    let nobody = {
        // A port that was free a moment ago, in a namespace where nobody takes it.
        let (listener, at) = listen(0, None)?;
        drop(listener);
        at.to_string()
    };
    for (arguments, words) in [
        (vec!["send"], "HOST:PORT"),
        (vec!["send", "localhost"], "port is missing"),
        (vec!["send", "::1:80"], "in brackets"),
        (
            vec!["send", "--linger", "soon", "localhost:1"],
            "30s or 500ms",
        ),
        (vec!["send", "--linger", "0s", "localhost:1"], "abort"),
        (
            vec!["send", "localhost:1", "/no/such/file"],
            "cannot open /no/such/file",
        ),
        (vec!["send", "localhost:1", "/"], "is a folder"),
        (vec!["send", &nobody, "/dev/null"], "Connection refused"),
        (vec!["recv", "--port", "65536"], "65536"),
        (vec!["lab", "--row", "Z9"], "there is no such row"),
    ] {
        let output = Command::new(LASTBYTE)
            .args(&arguments)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(2) || !said.contains(words) {
            return Err(format!("{arguments:?}: {:?}, {said}", output.status).into());
        }
    }
    Ok(())
}
