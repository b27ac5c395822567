"""Whether observing a run changes a packet. For each situation and each set of options: the packets of the
connection, as a raw socket sees them. Runs in a network namespace of its own.

usage: observed.py LASTBYTE     (and, by itself: observed.py play SITUATION PORT)
"""
import fcntl, os, select, signal, socket, struct, subprocess, sys, threading, time

ETH_P_ALL, FIN, SYN, RST, ACK = 3, 1, 2, 4, 16
HELLO = b"hello"


# The program under test: a server of one connection.

def outq(s):
    return struct.unpack("i", fcntl.ioctl(s, 0x5411, bytes(4)))[0]


def acknowledged(s):
    while outq(s):
        time.sleep(0.001)


def unread(s, count):
    while len(s.recv(65536, socket.MSG_PEEK)) < count:
        time.sleep(0.001)


def linger(s, seconds):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))


def answered(s):
    s.recv(5); s.sendall(b"answer"); acknowledged(s)


def quiet(s):
    answered(s); os.close(s.detach())


def half_closed(s):
    answered(s); s.shutdown(socket.SHUT_WR); os.close(s.detach())


def both_shut(s):
    answered(s); s.shutdown(socket.SHUT_RDWR); os.close(s.detach())


def never_sent(s):
    s.recv(5); os.close(s.detach())


def never_sent_unread(s):
    unread(s, 5); os.close(s.detach())


def answered_unread(s):
    s.recv(2); s.sendall(b"answer"); acknowledged(s); unread(s, 3); os.close(s.detach())


def full(s):
    s.recv(5); s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20); s.sendall(b"x" * 300000); os.close(s.detach())


def full_unread(s):
    s.recv(2); s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20); s.sendall(b"x" * 300000); os.close(s.detach())


def abort(s):
    answered(s); linger(s, 0); os.close(s.detach())


def wait(s):
    answered(s); linger(s, 5); os.close(s.detach())


def peer_first(s):
    answered(s)
    while s.recv(100):
        pass
    os.close(s.detach())


def exits(s):
    answered(s); os._exit(0)


def exits_unread(s):
    s.recv(2); s.sendall(b"answer"); acknowledged(s); unread(s, 3); os._exit(0)


def forked(s):
    answered(s)
    if not os.fork():
        os.close(s.detach()); os._exit(0)
    os.wait(); os.close(s.detach())


def killed(s):
    answered(s); os.kill(os.getpid(), signal.SIGKILL)


def play(name, port):
    l = socket.socket()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind(("127.0.0.1", port)); l.listen()
    print("listening", flush=True)
    s, _ = l.accept(); s.settimeout(None)
    globals()[name](s)
    sys.stdin.read()


# The peer, and the packets.

def late(s):
    "Sends on after the other side's FIN or RST, and says how many sends went well."
    select.select([s], [], [], 10)
    time.sleep(0.1)
    went = 0
    for _ in range(3):
        try:
            s.sendall(b"late"); went += 1
        except OSError:
            break
        time.sleep(0.05)
    return went


def reads(s):
    time.sleep(0.1)
    return whole(s)


def whole(s):
    got = 0
    try:
        while data := s.recv(65536):
            got += len(data)
        return got, "EOF"
    except OSError as error:
        return got, error.errno


def closes_first(s):
    s.recv(100); s.shutdown(socket.SHUT_WR); time.sleep(0.1); return whole(s)


SITUATIONS = [("quiet", late), ("half_closed", late), ("both_shut", late), ("never_sent", late),
              ("never_sent_unread", late), ("answered_unread", late), ("full", reads), ("full_unread", reads),
              ("abort", late), ("wait", reads), ("peer_first", closes_first), ("exits", late), ("exits_unread", late),
              ("forked", late), ("killed", late)]


class Packets:
    def __init__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self.socket.bind(("lo", ETH_P_ALL)); self.socket.settimeout(0.2)

    def of(self, port):
        "Each side's payload, FIN and RST, and how much the peer had sent when the server's RST came."
        sides = {True: [0, 0, 0], False: [0, 0, 0]}
        ends, before_reset = {}, None
        while True:
            try:
                data, (_, _, kind, *_) = self.socket.recvfrom(65536)
            except TimeoutError:
                break
            if kind == 4 or data[0] >> 4 != 4 or data[9] != 6:
                continue    # what goes out comes in again
            head = 4 * (data[0] & 15)
            source, target, sequence = struct.unpack("!HHI", data[head:head + 8])
            if port not in (source, target):
                continue
            flags, offset = data[head + 13], 4 * (data[head + 12] >> 4)
            length = struct.unpack("!H", data[2:4])[0] - head - offset
            ours = source == port
            if flags & SYN:
                ends[ours] = sequence + 1
            if flags & RST:
                sides[ours][2] = 1
                if ours and before_reset is None:
                    before_reset = sides[False][0]
                continue
            sides[ours][1] |= flags & FIN
            if length and ours in ends:
                sides[ours][0] = max(sides[ours][0], (sequence + length - ends[ours]) % (1 << 32))
        return {"server": sides[True], "peer": sides[False], "before_reset": before_reset}


def once(command, name, peer, options, port):
    packets = Packets()
    program = subprocess.Popen([command, "run", "--patience", "3s", *options, "--", sys.executable, __file__, "play", name,
                                str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert program.stdout.readline() == b"listening\n"
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    s.connect(("127.0.0.1", port)); s.sendall(HELLO); s.settimeout(10)
    seen = peer(s)
    s.close()
    program.stdin.close(); program.wait()
    return {"peer saw": seen, **packets.of(port)}


def main(command):
    if os.environ.get("LASTBYTE_TEST_INSIDE") is None:
        os.environ["LASTBYTE_TEST_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-Urn", sys.executable, __file__, command])
    with socket.socket() as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x49))   # SIOCSIFFLAGS: up, running
    port, wrong = 7000, 0
    for name, peer in SITUATIONS:
        seen = {}
        for options in ([], ["--summary"], ["--log", "/dev/null"]):
            port += 1
            seen[" ".join(options)] = once(command, name, peer, options, port)
        same = all(one == seen[""] for one in seen.values())
        wrong += not same
        print("same" if same else "DIFFERENT", name, seen[""] if same else seen, flush=True)
    sys.exit(bool(wrong))


if sys.argv[1] == "play":
    play(sys.argv[2], int(sys.argv[3]))
else:
    main(sys.argv[1])
