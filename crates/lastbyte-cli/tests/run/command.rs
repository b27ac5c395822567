//! The command itself: statuses, messages, what it can and cannot enter.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use lastbyte_testkit::{need, need_root};

use crate::harness::{
    End, Peer, Talk, compile, lastbyte, plain_python, python, read_all, scratch, text, under,
};

fn run(arguments: &[&str]) -> Output {
    lastbyte()
        .arg("run")
        .args(arguments)
        .output()
        .expect("it starts")
}

#[test]
fn the_status_is_the_programs_own() {
    assert_eq!(run(&["--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(run(&["--", "true"]).status.code(), Some(0));
    assert_eq!(
        run(&["--", "sh", "-c", "kill -9 $$"]).status.code(),
        Some(128 + 9)
    );
    assert_eq!(
        run(&["true"]).status.code(),
        Some(0),
        "the dashes may be left out"
    );
}

#[test]
fn a_program_that_cannot_be_run_is_said() {
    let output = run(&["--", "no-such-program"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(
        text(&output)
            .1
            .contains("no program no-such-program in PATH")
    );

    let output = run(&["--", "/no/such/program"]);
    assert_eq!(output.status.code(), Some(127));

    let file = scratch().join(format!("not-executable-{}", std::process::id()));
    fs::write(&file, "text").expect("written");
    let output = run(&["--", file.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(126));
    assert!(text(&output).1.contains("cannot execute"));
}

#[test]
fn bad_arguments_are_said() {
    for (arguments, what) in [
        (
            &["--linger", "5", "--", "true"][..],
            "neither off, nor abort, nor a time",
        ),
        (
            &["--linger", "0s", "--", "true"],
            "say abort if that is meant",
        ),
        (&["--linger", "1us", "--", "true"], "whole milliseconds"),
        (
            &["--log", "/no/such/folder/log", "--", "true"],
            "cannot write the log",
        ),
        (&[], "required"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output).1.contains(what),
            "{arguments:?}: {}",
            text(&output).1
        );
    }
}

#[test]
fn signals_reach_the_program() {
    let peer = Peer::new();
    let source =
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); say('ready'); time.sleep(60)";
    let mut talk = Talk::start(&mut python(&[], source, peer.port(), &[]));
    assert_eq!(talk.hear(), "ready");
    let pid = libc::pid_t::try_from(talk.child.id()).expect("a pid");
    // SAFETY: our own child, not waited for yet.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    assert_eq!(talk.finish().0, 5);
}

#[test]
fn the_program_finds_its_signals_limits_and_descriptors_as_they_were() {
    // 32 and 33 are glibc's own, and change with its first thread.
    let source = "import resource, json\n\
        status = dict(line.split(':\\t') for line in open('/proc/self/status') if line.startswith('Sig'))\n\
        fds = [fd for fd in os.listdir('/proc/self/fd') if int(fd) < 900]\n\
        say(json.dumps([status['SigBlk'], hex(int(status['SigIgn'], 16) & ~(3 << 31)), resource.getrlimit(resource.RLIMIT_NOFILE), len(fds)]))";
    let plain = plain_python(source, 1).output().expect("python3");
    let shim = python(&[], source, 1, &[]).output().expect("it runs");
    assert_eq!(text(&shim).0, text(&plain).0);
}

#[test]
fn a_log_line_has_the_contracts_fields() {
    let log = scratch().join(format!("log-{}", std::process::id()));
    let peer = Peer::new();
    let source = "s = connect(); unread(s); linger(s, 7); s.sendall(b'12345'); os.close(s.detach()); say(os.getpid())";
    let options = ["--log", log.to_str().expect("text"), "--summary"];
    let mut talk = Talk::start(&mut python(&options, source, peer.port(), &[]));
    let stream = peer.accept_and_send();
    assert_eq!(read_all(&stream), (5, End::Eof));
    let remote = stream.peer_addr().expect("connected").to_string();
    drop(stream);
    let pid: u64 = talk.hear().parse().expect("a pid");
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 0);
    let lines = fs::read_to_string(&log).expect("a log");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    let line: Value = serde_json::from_str(&lines).expect("JSON");
    let keys: Vec<&str> = line
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    for key in [
        "time",
        "pid",
        "comm",
        "local",
        "remote",
        "linger",
        "fate",
        "acked",
        "lost",
        "unsent",
        "unread",
        "rst_sent",
        "closed_first",
        "elapsed_us",
        "error",
    ] {
        assert!(keys.contains(&key), "{key} is missing in {line}");
    }
    assert_eq!(keys.len(), 15);
    assert_eq!(line["pid"], pid);
    assert!(
        line["comm"]
            .as_str()
            .is_some_and(|comm| comm.starts_with("python3"))
    );
    assert_eq!(line["remote"], format!("127.0.0.1:{}", peer.port()));
    assert_eq!(line["local"], remote);
    assert_eq!(line["linger"]["l_onoff"], 1);
    assert_eq!(line["linger"]["l_linger"], 7);
    assert_eq!(line["fate"], "delivered");
    assert_eq!(
        (&line["acked"], &line["lost"]),
        (&Value::from(5), &Value::from(0))
    );
    assert_eq!(line["unread"], 1000);
    assert_eq!(line["rst_sent"], false);
    // Null where the supervisor looked again only after both FINs.
    assert_ne!(line["closed_first"], "peer");
    assert!(
        line["time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z') && time.len() == 27)
    );
    assert!(
        errors.contains("1 ending: 1 delivered; bytes acknowledged 5, lost 0"),
        "{errors}"
    );
    assert!(errors.contains("input discarded 1000"), "{errors}");
}

#[test]
fn a_log_that_fails_is_said() {
    let peer = Peer::new();
    let source = "s = connect(); s.sendall(b'12345'); os.close(s.detach())";
    let talk = Talk::start(&mut python(
        &["--log", "/dev/full"],
        source,
        peer.port(),
        &[],
    ));
    read_all(&peer.accept());
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 0, "the program's own");
    assert!(
        errors.contains("the log is incomplete: No space left"),
        "{errors}"
    );
}

#[test]
fn closes_without_a_deadline_are_left_to_the_kernel_when_patience_ends() {
    let peer = Peer::new();
    let source = "s = connect(); big(s); os.close(s.detach())";
    let options = ["--patience", "300ms", "--summary"];
    let talk = Talk::start(&mut python(&options, source, peer.port(), &[]));
    let stream = peer.accept();
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 0);
    assert!(
        errors.contains("1 connection without an end yet left to the kernel"),
        "{errors}"
    );
    assert!(errors.contains("1 ending: 1 detached"), "{errors}");
    assert_eq!(
        read_all(&stream),
        (300_000, End::Eof),
        "and the kernel goes on"
    );
}

#[test]
fn a_daemon_left_behind_is_said() {
    let output = run(&[
        "--",
        "sh",
        "-c",
        "exec 3<&0; sleep 3 >/dev/null 2>&1 </dev/null 3<&- &",
    ]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output).1.contains("left 1 process behind"),
        "{}",
        text(&output).1
    );
}

fn static_program() -> PathBuf {
    compile("manual-b", &["-static"])
}

#[test]
fn a_static_program_is_refused() {
    let program = static_program();
    let output = run(&["--", program.to_str().expect("text"), "1", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).1.contains("is statically linked"),
        "{}",
        text(&output).1
    );
    assert_eq!(text(&output).0, "", "nothing was run");

    let output = run(&["--anyway", "--", program.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(2), "its own: a usage error");
    assert!(text(&output).1.contains("its closes are the kernel's own"));
    assert!(text(&output).1.contains("usage:"));
}

#[test]
fn a_static_program_that_a_covered_one_starts_is_said_once() {
    need("python3", "python3");
    let program = static_program();
    let file = program.to_str().expect("text");
    for script in [
        format!("{file} || {file} || true"),
        format!("exec {file}"),
        format!("python3 -c 'import os; os.posix_spawn(\"{file}\", [\"x\"], os.environ)'"),
        format!("python3 -c 'import subprocess; subprocess.call([\"{file}\"])'"),
        // execveat(2) by a folder, and of an open file, as fexecve(3) does it.
        format!(
            "python3 -c 'import ctypes, os; libc = ctypes.CDLL(None); fd = os.open(\"{}\", os.O_PATH)\n\
             libc.execveat(fd, b\"{}\", (ctypes.c_char_p * 2)(b\"x\"), 0, 0)'",
            program.parent().expect("a folder").display(),
            program.file_name().expect("a name").display()
        ),
        format!(
            "python3 -c 'import ctypes, os; fd = os.open(\"{file}\", os.O_PATH)\n\
             ctypes.CDLL(None).syscall({}, fd, b\"\", (ctypes.c_char_p * 2)(b\"x\"), 0, 0x1000)'",
            libc::SYS_execveat
        ),
        format!(
            "python3 -c 'import os; os.execve(os.open(\"{file}\", os.O_RDONLY), [\"x\"], os.environ)'"
        ),
        format!(
            "PATH={}; {} || true",
            program.parent().expect("a folder").display(),
            program.file_name().expect("a name").display()
        ),
    ] {
        let output = run(&["--follow", "--", "sh", "-c", &script]);
        let errors = text(&output).1;
        assert_eq!(
            errors.matches("is statically linked").count(),
            1,
            "{script}: {errors}"
        );
    }
}

#[test]
fn a_setuid_program_is_refused() {
    // The file is given away.
    need_root();
    let file = scratch().join(format!("setuid-{}", std::process::id()));
    fs::copy("/bin/true", &file).expect("copied");
    chown(&file, Some(12345), None).expect("root may");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).expect("root may");
    let output = run(&["--", file.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).1.contains("is set-user-id"),
        "{}",
        text(&output).1
    );
    let output = run(&["--", "sh", "-c", &format!("{}; true", file.display())]);
    assert!(
        text(&output).1.contains("is set-user-id"),
        "{}",
        text(&output).1
    );
    fs::remove_file(file).expect("ours");
}

#[test]
fn a_musl_program_is_refused() {
    // Only the loader's name counts, and nothing is run.
    let program = compile(
        "manual-b",
        &["-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"],
    );
    let output = run(&["--", program.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).1.contains("is linked with musl"),
        "{}",
        text(&output).1
    );
}

#[test]
fn a_script_is_judged_by_its_interpreter() {
    let program = static_program();
    let script = scratch().join(format!("script-{}", std::process::id()));
    fs::write(&script, format!("#! {}\n", program.display())).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
    let output = run(&["--", script.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).1.contains("is statically linked"),
        "{}",
        text(&output).1
    );
}

#[test]
fn the_command_does_not_close_its_own_files_through_the_shim() {
    need("nm", "binutils");
    let output = Command::new("nm")
        .args(["--defined-only", env!("CARGO_BIN_EXE_lastbyte")])
        .output()
        .expect("it starts");
    let names = text(&output).0;
    assert!(
        names.contains(" main\n"),
        "symbols are there to be looked at"
    );
    for name in ["close", "dup2", "fork", "socket", "accept4", "sendmsg"] {
        assert!(
            !names
                .lines()
                .any(|line| line.ends_with(&format!(" {name}"))),
            "{name}"
        );
    }
    // And the shim has them.
    let output = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(crate::shim_file::shim())
        .output()
        .expect("it starts");
    assert!(
        text(&output)
            .0
            .lines()
            .any(|line| line.ends_with(" T close"))
    );
}

#[test]
fn covered_programs_run_with_a_program_file_of_any_kind() {
    let program = compile("manual-b", &[]);
    let output = under(&[], &program, &[] as &[&str])
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).1.starts_with("usage:"),
        "and nothing else is said: {}",
        text(&output).1
    );
}

#[test]
fn the_demo_shows_both_closes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/demo-run.py");
    need("python3", "python3");
    let output = Command::new("python3")
        .arg(script)
        .args([
            "--seconds",
            "1",
            "--lastbyte",
            env!("CARGO_BIN_EXE_lastbyte"),
        ])
        .output()
        .expect("it starts");
    let shown = text(&output).0;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 6, "{shown}{}", text(&output).1);
    assert!(
        lines[1].starts_with("  close() returned 0 after "),
        "{shown}"
    );
    assert!(lines[2].ends_with("and then end of file"), "{shown}");
    assert!(
        lines[4].starts_with("  close() returned -1 (Resource temporarily unavailable) after "),
        "{shown}"
    );
    assert!(lines[5].ends_with("and then ECONNRESET"), "{shown}");
}
