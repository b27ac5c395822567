//! A kernel that refuses to be asked, as in a sandbox: what cannot be seen is unknown,
//! and what cannot be ended as the contract has it is closed in the plain way.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod common;

use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use common::forms::{FORMS, Form};
use common::{fill, pair_on, read_all};
use lastbyte::{CloseError, Errno, Fate, Policy, Report};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const EPERM: Errno = Errno::from_raw(libc::EPERM);

/// Refuses a system call to this thread, and to those it starts, with EPERM.
fn forbid(call: libc::c_long) {
    let code = |code: u32| u16::try_from(code).unwrap();
    let step = |op: u32, jt, jf, k| libc::sock_filter {
        code: code(op),
        jt,
        jf,
        k,
    };
    let mut filter = [
        // The number is the first word of struct seccomp_data.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            1,
            0,
            u32::try_from(call).unwrap(),
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `program` and the instructions it points to are alive.
    let rc = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            )
    };
    assert_eq!(rc, 0, "{}", io::Error::last_os_error());
}

/// One close on a thread from which `call` is kept; the peer reads what it gets.
fn closed_without(
    call: libc::c_long,
    address: &str,
    close: Form,
    policy: Policy,
) -> (u64, u64, bool, Result<Report, CloseError>) {
    let (ours, peer) = pair_on(address);
    let written = fill(&ours);
    let result = thread::spawn(move || {
        forbid(call);
        close(ours, policy)
    })
    .join()
    .unwrap();
    let (read, end) = read_all(&peer);
    (written, read, end.is_ok(), result)
}

/// Nobody can say what became of the bytes: not `delivered`, and not 0.
#[test]
fn without_the_queues_length_the_kernel_closes() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for &(form, close) in FORMS {
            let (written, read, eof, result) =
                closed_without(libc::SYS_ioctl, address, close, Policy::wait(LONG));
            let error = result.unwrap_err();
            let report = error.report().unwrap();
            assert_eq!(report.fate, Fate::Detached, "{form}");
            assert_eq!(report.error, Some(EPERM), "{form}");
            assert_eq!(error.errno(), Some(EPERM), "{form}");
            assert_eq!((report.acked, report.lost), (None, None), "{form}");
            assert_eq!((report.unsent, report.unread), (None, None), "{form}");
            assert_eq!(report.rst_sent, None, "{form}");
            // As with close(2): queued, and delivered.
            assert_eq!((read, eof), (written, true), "{address} {form}");
        }
    }
}

/// An abort needs no sight; its counts do.
#[test]
fn an_abort_without_the_queues_length_counts_nothing() {
    for &(form, close) in FORMS {
        let (written, read, eof, result) =
            closed_without(libc::SYS_ioctl, "127.0.0.1:0", close, Policy::abort());
        let report = result.unwrap();
        assert_eq!(report.fate, Fate::Aborted, "{form}");
        assert_eq!((report.acked, report.lost), (None, None), "{form}");
        assert!(read < written && !eof, "{form}");
    }
}

/// Off returns as ever, and claims nothing.
#[test]
fn off_without_the_queues_length_claims_nothing() {
    let close: Form = |stream, policy| lastbyte::close(stream, policy);
    let (written, read, eof, result) =
        closed_without(libc::SYS_ioctl, "127.0.0.1:0", close, Policy::off());
    let report = result.unwrap();
    assert_eq!((report.fate, report.error), (Fate::Detached, None));
    assert_eq!((report.acked, report.lost), (None, None));
    assert_eq!((read, eof), (written, true));
}

/// Without shutdown(2) no FIN goes out but by the close itself.
#[test]
fn without_shutdown_the_kernel_closes() {
    for &(form, close) in FORMS {
        let (written, read, eof, result) =
            closed_without(libc::SYS_shutdown, "127.0.0.1:0", close, Policy::wait(LONG));
        let error = result.unwrap_err();
        let report = error.report().unwrap();
        assert_eq!((report.fate, report.error), (Fate::Detached, Some(EPERM)));
        assert_eq!((report.lost, report.rst_sent), (None, None), "{form}");
        assert_eq!((read, eof), (written, true), "{form}");
    }
}

/// Without setsockopt(2) acknowledgements go on until the RST: then the counts at
/// their last look are a guess.
#[test]
fn without_a_filter_the_counts_at_the_deadline_are_unknown() {
    let close: Form = |stream, policy| lastbyte::close(stream, policy);
    let (written, read, eof, result) = closed_without(
        libc::SYS_setsockopt,
        "127.0.0.1:0",
        close,
        Policy::wait(SHORT),
    );
    let error = result.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.fate, Fate::TimedOut);
    assert_eq!((report.acked, report.lost), (None, None));
    assert_eq!((report.unsent, report.rst_sent), (None, Some(true)));
    assert!(read < written && !eof);
}

/// Without getsockopt(2) nothing can be known, not even what it is: untouched.
#[test]
fn without_the_state_the_socket_is_given_back() {
    for &(form, close) in FORMS {
        let (ours, peer) = pair_on("127.0.0.1:0");
        let result = thread::spawn(move || {
            forbid(libc::SYS_getsockopt);
            close(ours, Policy::wait(LONG))
        });
        let error = result.join().unwrap().unwrap_err();
        assert_eq!(error.errno(), Some(EPERM), "{form}");
        assert!(error.report().is_none(), "{form}");
        let ours = TcpStream::from(error.into_socket().unwrap());
        io::Write::write_all(&mut &ours, b"still there").unwrap();
        drop(ours);
        assert_eq!(read_all(&peer).0, 11, "{form}");
    }
}
