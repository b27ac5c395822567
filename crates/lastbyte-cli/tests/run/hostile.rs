//! Programs that misuse what every process of a run inherits.
//!
//! Each attacker is a process of another user (nobody), as the worker of a server that
//! root started; what must not suffer is root's own process in the same run.

use std::process::Command;

use lastbyte_testkit::need_root;

use crate::harness::{End, Peer, Talk, python, read_all, read_exactly, scratch};

const BIG: usize = 300_000;

/// What the attackers here begin with. They speak to the supervisor themselves.
const ATTACKER: &str = r#"
import array, ctypes, encodings.idna, mmap
libc = ctypes.CDLL(None, use_errno=True)
channel = int(os.environ['LASTBYTE_RUN'].split(',')[0])
END, END_AFTER_EXIT, SHARED, UNCOVERED, OPENED, CLOSES = 1, 2, 3, 4, 6, 8
def request(kind, fd=0, nonce=0, flags=0, inode=0, name=b'attacker', cookie=0, left=0, ends=b''):
    return struct.pack('=IHHiQIiiQQHHIQ56s80s', 0x6c627974, 2, kind, fd, nonce, flags, 0, 0, inode, cookie, left, 1, 0,
                       0, ends, name)
def address(end):
    return struct.pack('=H', socket.AF_INET) + struct.pack('!H', end[1]) + socket.inet_aton(end[0]) + bytes(20)
def send(message, *fds):
    "True if the supervisor took it, or will."
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=channel)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
    try:
        s.sendmsg([message], rights); return True
    except OSError:
        return False
    finally:
        s.detach()
def fill(s):
    s.setblocking(False); total = 0
    try:
        while True: total += s.send(b'x' * 65536)
    except BlockingIOError:
        s.setblocking(True); return total
def worker(attack):
    "A child of another user; returns once it says that it has begun."
    r, w = os.pipe()
    child = os.fork()
    if child:
        os.close(w); assert os.read(r, 1) == b'+', 'the attacker died'; os.close(r)
        return child
    os.close(r)
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    try: attack(lambda: os.write(w, b'+'))
    except BaseException as error: print('attacker:', error, file=sys.stderr, flush=True)
    finally: os._exit(0)
def end(child):
    os.kill(child, 9); os.waitpid(child, 0)
"#;

/// Root's own close: input is unread and much is queued, so that the kernel's close would
/// lose it.
const VICTIM: &str = "s = connect(); unread(s); big(s); close(s.detach())";

fn attacked(options: &[&str], source: &str, port: u16) -> Command {
    // A second user is made.
    need_root();
    python(options, &format!("{ATTACKER}\n{source}"), port, &[])
}

#[test]
fn nobody_else_can_answer_a_close_that_waits() {
    // Wherever memory of the run can be written, whatever looks like a wait is
    // answered with success, in every way there is to get at the memory.
    let source = r"
def views():
    for fd in os.listdir('/proc/self/fd'):
        try: name = os.readlink('/proc/self/fd/' + fd)
        except OSError: continue
        if 'memfd:lastbyte' not in name: continue
        for again in (False, True):
            try:
                file = os.open('/proc/self/fd/' + fd, os.O_RDWR) if again else int(fd)
                yield mmap.mmap(file, os.fstat(file).st_size)
            except OSError: pass
def attack(begun):
    found = list(views()); words = [memoryview(view).cast('Q') for view in found]
    places = [ctypes.addressof(ctypes.c_char.from_buffer(view)) for view in found]
    begun()
    while True:
        for place, view in zip(places, words):
            for index in range(len(view)):
                if view[index] & 3 == 1:
                    view[index] = view[index] & 0xfffffffc | 2
                    libc.syscall(202, ctypes.c_void_p(place + index * 8), 1, 1 << 30, None, None, 0)
child = worker(attack)
s = connect(); fill(s); linger(s, 2)
close(s.detach()); end(child)";
    let peer = Peer::new();
    let mut talk = Talk::start(&mut attacked(&[], source, peer.port()));
    let stream = peer.accept();
    let told = talk.hear();
    assert!(
        told.starts_with("close Resource temporarily unavailable"),
        "the peer read nothing: {told}"
    );
    read_exactly(&stream, 1);
    drop(stream);
    assert_eq!(talk.finish().0, 0);
}

/// Runs an attack, then root's own close, which must be covered, and soon. Returns what
/// was printed on standard error.
fn the_victim_is_covered(command: &mut Command, peer: &Peer) -> String {
    let mut talk = Talk::start(command);
    assert_eq!(talk.hear(), "attacked");
    let stream = peer.accept_and_send();
    let told = talk.hear();
    let time: f64 = told
        .strip_prefix("close ok ")
        .and_then(|time| time.parse().ok())
        .unwrap_or_else(|| panic!("{told}"));
    assert!(time < 5.0, "{told}");
    assert_eq!(read_all(&stream), (BIG, End::Eof));
    drop(stream);
    let (status, _, errors) = talk.finish();
    assert_eq!(status, 0, "{errors}");
    errors
}

#[test]
fn nobody_can_block_the_supervisor_with_sockets_that_linger() {
    // The attackers die at once, so that the supervisor has the last descriptor of each
    // socket; its peer never acknowledges all, and the linger time is an hour. They come as
    // requests of each kind, as riders of what is none, and many in one message.
    let source = format!(
        r"
def stuck(count):
    listener = socket.socket(); listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    listener.bind(('127.0.0.1', 0)); listener.listen(count); peers.append(listener)
    found = []
    for _ in range(count):
        s = socket.create_connection(listener.getsockname()); fill(s); linger(s, 3600)
        found.append(s.detach())
    return found
peers = []
def attack(begun):
    for kind in END, END_AFTER_EXIT, SHARED, UNCOVERED:
        for flags in 0, 16: send(request(kind, flags=flags), *stuck(1))
    send(b'', *stuck(1)); send(b'nothing', *stuck(3)); send(request(END, flags=16), *stuck(3))
    some = stuck(4)
    send(request(END, flags=16), *(some * 63))
    begun(); os.kill(os.getpid(), 9)
child = worker(attack); os.waitpid(child, 0)
say('attacked')
{VICTIM}"
    );
    let peer = Peer::new();
    let mut command = attacked(&["--patience", "1s"], &source, peer.port());
    the_victim_is_covered(&mut command, &peer);
}

#[test]
fn nobody_can_use_up_the_supervisors_descriptors() {
    let source = format!(
        r"
def attack(begun):
    fd = os.open('/dev/null', os.O_RDONLY); sent = 0
    while sent < 3000 and send(request(END_AFTER_EXIT, fd=fd), fd): sent += 1
    begun(); time.sleep(600)
child = worker(attack)
say('attacked')
{VICTIM}
end(child)"
    );
    let peer = Peer::new();
    let inner = attacked(&["--patience", "1s"], &source, peer.port());
    let mut command = Command::new("prlimit");
    command
        .arg("--nofile=1000:1000")
        .arg(inner.get_program())
        .args(inner.get_args());
    let errors = the_victim_is_covered(&mut command, &peer);
    assert!(
        errors.contains("there are descriptors for no more"),
        "{errors}"
    );
}

#[test]
fn an_empty_message_does_not_end_the_run() {
    let source = format!(
        "child = worker(lambda begun: (send(b''), begun())); os.waitpid(child, 0)\n\
         say('attacked')\n{VICTIM}"
    );
    let peer = Peer::new();
    the_victim_is_covered(&mut attacked(&[], &source, peer.port()), &peer);
}

#[test]
fn nobody_can_flood_standard_error() {
    let source = format!(
        r"
def attack(begun):
    for index in range(5000):
        send(b'nothing'); send(request(UNCOVERED, flags=1, name=b'program %d' % index))
    begun()
child = worker(attack); os.waitpid(child, 0)
say('attacked')
{VICTIM}"
    );
    let peer = Peer::new();
    let errors = the_victim_is_covered(&mut attacked(&[], &source, peer.port()), &peer);
    let lines = errors.lines().count();
    assert!((1..200).contains(&lines), "{lines} lines");
}

#[test]
fn questions_without_end_delay_nobody_elses_answer() {
    // Root's socket was shared with a child once, so that its holders have to be looked for.
    let source = r"
def attack(begun):
    begun()
    while send(request(SHARED, nonce=1 << 40, inode=1)): pass
child = worker(attack)
say('attacked')
s = connect(); unread(s); big(s)
if not (other := os.fork()): os._exit(0)
os.waitpid(other, 0)
close(s.detach()); end(child)";
    let peer = Peer::new();
    the_victim_is_covered(&mut attacked(&[], source, peer.port()), &peer);
}

#[test]
fn nobody_can_put_anothers_connection_into_the_log() {
    // Two connections that are not the attacker's: the peer's own, which is not of the run
    // at all, and root's. The attacker knows all about both, as `ss -e` tells everybody.
    let source = r"
s = connect(); s.sendall(b'x' * 100); here, there = s.getsockname(), s.getpeername()
say('connected'); theirs = int(hear()); own = struct.unpack('Q', s.getsockopt(socket.SOL_SOCKET, 57, 8))[0]
def attack(begun):
    send(request(OPENED, cookie=theirs, ends=address(there) + address(here)))
    send(request(CLOSES, cookie=theirs, left=9, ends=address(there) + address(here)))
    send(request(OPENED, cookie=own, ends=address(here) + address(there)))
    send(request(CLOSES, cookie=own, left=9, ends=address(here) + address(there)))
    s.close(); begun(); time.sleep(60)
child = worker(attack); say('attacked'); hear()
os.close(s.detach()); say(os.getpid()); hear(); end(child)";
    let log = scratch().join(format!("forged-{}", std::process::id()));
    let peer = Peer::new();
    let options = ["--log", log.to_str().expect("text")];
    let mut talk = Talk::start(&mut attacked(&options, source, peer.port()));
    assert_eq!(talk.hear(), "connected");
    let stream = peer.accept();
    let theirs = stream.local_addr().expect("connected").to_string();
    read_exactly(&stream, 100);
    talk.say(&cookie(&stream).to_string());
    assert_eq!(talk.hear(), "attacked");
    talk.say("close");
    let pid: u64 = talk.hear().parse().expect("a number");
    assert_eq!(read_all(&stream), (0, End::Eof));
    drop(stream);
    talk.say("end");
    assert_eq!(talk.finish().0, 0);
    let text = std::fs::read_to_string(&log).expect("a log");
    std::fs::remove_file(&log).expect("ours");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(!lines.iter().any(|line| line["local"] == theirs), "{text}");
    let own: Vec<_> = lines
        .iter()
        .filter(|line| line["remote"] == theirs)
        .collect();
    let [own] = own.as_slice() else {
        panic!("root's own connection is in it once: {text}");
    };
    assert_eq!(
        (own["pid"].as_u64(), &own["fate"]),
        (Some(pid), &"delivered".into()),
        "{own}"
    );
    assert!(own["left_because"].is_null(), "{own}");
}

fn cookie(stream: &std::net::TcpStream) -> u64 {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: room for a u64, which is what the option is.
    let result = unsafe {
        libc::getsockopt(
            std::os::fd::AsRawFd::as_raw_fd(stream),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0);
    cookie
}
