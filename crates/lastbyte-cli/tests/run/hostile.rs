//! Programs that misuse what every process of a run inherits.
//!
//! Each attacker is a process of another user (nobody), as the worker of a server that
//! root started; what must not suffer is root's own process in the same run.

use std::process::Command;

use lastbyte_testkit::need_root;

use crate::harness::{End, Peer, Talk, python, read_all, read_exactly};

const BIG: usize = 300_000;

/// What the attackers here begin with. They speak to the supervisor themselves.
const ATTACKER: &str = r#"
import array, ctypes, encodings.idna, mmap
libc = ctypes.CDLL(None, use_errno=True)
channel = int(os.environ['LASTBYTE_RUN'].split(',')[0])
END, END_AFTER_EXIT, SHARED, UNCOVERED = 1, 2, 3, 4
def request(kind, fd=0, nonce=0, flags=0, inode=0, name=b'attacker'):
    return struct.pack('=IHHiQIiiQQ56x80s', 0x6c627974, 1, kind, fd, nonce, flags, 0, 0, inode, 0, name)
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
