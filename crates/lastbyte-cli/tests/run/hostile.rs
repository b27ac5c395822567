//! Programs that misuse what every process of a run inherits.
//!
//! Each attacker is a process of another user (nobody), as the worker of a server that
//! root started; what must not suffer is root's own process in the same run.

use std::process::Command;

use crate::harness::{Peer, Talk, python, read_exactly};

/// What the attackers here begin with. They speak to the supervisor themselves.
const ATTACKER: &str = r#"
import array, ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
channel = int(os.environ['LASTBYTE_RUN'].split(',')[0])
END, END_AFTER_EXIT, SHARED, UNCOVERED = 1, 2, 3, 4
def request(kind, fd=0, nonce=0, flags=0, inode=0, name=b'attacker'):
    return struct.pack('=IHHiQIiiQQ80s', 0x6c627974, 1, kind, fd, nonce, flags, 0, 0, inode, 0, name)
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

fn attacked(options: &[&str], source: &str, port: u16) -> Command {
    // SAFETY: cannot fail.
    let user = unsafe { libc::geteuid() };
    assert_eq!(user, 0, "these tests make a second user: run them as root");
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
