//! Every way to let go of a connection, by every kind of holder.
//!
//! The peer has sent input that the program leaves unread, and has not read what the
//! program sent. The kernel's close resets then, and what was sent is lost: the same
//! program without us shows that it is so. The witness is what the peer reads.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{End, Peer, compile, read_all, text, under};

const BIG: usize = 300_000;

const CLOSES: &[&str] = &[
    "close",
    "sys_close",
    "close_range",
    "sys_close_range",
    "dup2",
    "dup3",
    #[cfg(target_arch = "x86_64")]
    "sys_dup2",
    "sys_dup3",
    "fclose",
    "freopen",
];

const ENDS: &[&str] = &["exit", "_exit", "_Exit", "quick_exit", "sys_exit_group"];

/// What the peer of `ways WAY HOLDER` reads.
fn peer_reads(command: &mut Command, peer: &Peer) -> (usize, End) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let stream = peer.accept_and_send();
    // The program alone ends when it has let go; under `lastbyte run` the command
    // stays until the peer has read.
    let is_plain = command.get_program().to_string_lossy().contains("ways-");
    let (child, output) = if is_plain {
        (
            None,
            Some(child.wait_with_output().expect("it was started")),
        )
    } else {
        (Some(child), None)
    };
    let read = read_all(&stream);
    drop(stream);
    let output = output.unwrap_or_else(|| {
        let child = child.expect("one of the two");
        child.wait_with_output().expect("it was started")
    });
    assert!(output.status.success(), "{}", text(&output).1);
    read
}

fn tries(program: &Path, ways: &[&str], holders: &[&str]) {
    let mut wrong = Vec::new();
    for holder in holders {
        for way in ways {
            let peer = Peer::new();
            let port = peer.port().to_string();
            let arguments = [port.as_str(), way, holder];
            let read = peer_reads(Command::new(program).args(arguments), &peer);
            if read.1 != End::Reset || read.0 >= BIG {
                wrong.push(format!("{way}, {holder}, the kernel alone: {read:?}"));
            }
            let read = peer_reads(&mut under(&[], program, &arguments), &peer);
            if read != (BIG, End::Eof) {
                wrong.push(format!("{way}, {holder}: {read:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn closes_by_every_name() {
    let program = compile("ways", &[]);
    tries(
        &program,
        CLOSES,
        &[
            "single", "dup", "fork", "parent", "clone", "thread", "exec", "std", "spawned",
        ],
    );
}

#[test]
fn ends_of_a_process() {
    let program = compile("ways", &[]);
    tries(
        &program,
        ENDS,
        &[
            "single", "dup", "fork", "parent", "clone", "thread", "exec", "std", "spawned",
        ],
    );
}

#[test]
fn what_exec_closes() {
    let program = compile("ways", &[]);
    tries(
        &program,
        &["exec_cloexec"],
        &[
            "single", "dup", "fork", "parent", "clone", "exec", "spawned",
        ],
    );
}
