"""Ends of connections that doctor has to put down to the right program, and ends that
are nobody's fault. The first argument is the role, the second an address.

    faults      each of them some times over
    innocent    what healthy programs do
    leaves      a server that closes after its answer, on PORT (third argument)
    goes_on     a client of it that sends once more after that, N times (fourth)

"faults" and "innocent" prepare what has to be there before somebody looks, say
"prepared", and wait for a line on stdin before they begin. Then they say "ready", and
what they made as a JSON object, and wait for the end of stdin with their sockets open.
"""

import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

from sockets import fill, queued, unread, wait_for, wait_reset

PR_SET_NAME = 15
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
FIN_WAIT2 = 5
role, address = sys.argv[1], sys.argv[2]
ctypes.CDLL(None).prctl(PR_SET_NAME, role.encode(), 0, 0, 0)
TIMES = 3
TWENTY = 20
kept = []


def listener(port, backlog=64):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    s.listen(backlog)
    return s


def pair(s):
    client = socket.create_connection(s.getsockname())
    return client, s.accept()[0]


def wait_fin(s):
    poll = select.poll()
    poll.register(s, select.POLLRDHUP)
    assert poll.poll(10_000), "no FIN came"


def state(s):
    return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def abort(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def told(s):
    """A client that shuts down and reads, and is told of the RST; the server closes
    with its request unread. What the client lost."""
    lost = 0
    for _ in range(TIMES):
        client, server = pair(s)
        fill(client)
        lost += queued(client)
        client.shutdown(socket.SHUT_WR)
        server.close()
        wait_reset(client)
        try:
            client.recv(1)
            raise AssertionError("it was not told")
        except ConnectionResetError:
            pass
        client.close()
    return lost


def race(s):
    """A server closes an idle connection, and the next request comes."""
    for _ in range(TIMES):
        client, server = pair(s)
        client.sendall(b"request")
        server.recv(100)
        server.sendall(b"answer")
        client.recv(100)
        server.close()
        wait_fin(client)
        client.sendall(b"r" * 50)
        wait_reset(client)
        client.close()
    return TIMES * 50


def half_close(s):
    """A client shuts down its side and does not wait for the answer."""
    for _ in range(TIMES):
        client, server = pair(s)
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        while server.recv(100):
            pass
        # Its FIN is acknowledged a moment later.
        wait_for("FIN_WAIT2", lambda: state(client) == FIN_WAIT2)
        client.close()
        server.sendall(b"a" * 1000)
        wait_reset(server)
        server.close()
    return TIMES * 1000


def forking(s):
    """Twenty children of a server that answer early. What they left unread."""
    for _ in range(TWENTY):
        client, server = pair(s)
        client.sendall(b"q" * 70)
        wait_for("the request", lambda: unread(server) == 70)
        child = os.fork()
        server_in_child = child == 0
        if server_in_child:
            # The parent's copy goes first, so that this close is the last.
            os.read(pipe[0], 1)
            server.close()
            os._exit(0)
        server.close()
        os.write(pipe[1], b".")
        os.waitpid(child, 0)
        wait_reset(client)
        client.close()
    return TWENTY * 70


def inherited(s):
    """A program is started with connections that are not close-on-exec."""
    pairs = [pair(s) for _ in range(TIMES)]
    for client, server in pairs:
        os.set_inheritable(client.fileno(), True)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    for client, server in pairs:
        os.set_inheritable(client.fileno(), False)
        client.close()
        server.close()
    return child


def deaf(s):
    """Drops all that arrives for it."""
    nothing = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(nothing))
    s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def forgotten(s):
    """Clients whose server has forgotten them: its RST did not arrive."""
    clients = []
    for _ in range(TIMES):
        client, server = pair(s)
        deaf(client)
        abort(server)
        client.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        clients.append(client)
    return clients


def speak(clients):
    for client in clients:
        client.send(b"?")
        wait_reset(client)
        client.close()


def refused():
    for _ in range(TIMES):
        try:
            socket.create_connection((address, 7999))
            raise AssertionError("something listens there")
        except ConnectionRefusedError:
            pass


def clean(s, times=TIMES):
    for _ in range(times):
        client, server = pair(s)
        client.sendall(b"request")
        server.recv(100)
        server.sendall(b"answer")
        client.recv(100)
        client.close()
        assert server.recv(1) == b""
        server.close()


def answered_half_close(s):
    for _ in range(TIMES):
        client, server = pair(s)
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        server.sendall(b"a" * 1000)
        server.close()
        while client.recv(4096):
            pass
        client.close()


def gives_up(s):
    """A client leaves while its answer comes."""
    for _ in range(TIMES):
        client, server = pair(s)
        server.sendall(b"a" * 1000)
        wait_for("the answer", lambda: unread(client) == 1000)
        client.close()
        wait_reset(server)
        server.close()


def close_notify(s, size):
    """Both ends say that they close; one leaves it unread."""
    for _ in range(TIMES):
        client, server = pair(s)
        server.sendall(b"n" * size)
        wait_for("it", lambda: unread(client) == size)
        client.close()
        wait_reset(server)
        server.close()


def migrates(port):
    """A listener of two closes over its backlog, and the kernel passes it on."""
    def one():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind((address, port))
        s.listen(64)
        return s
    leaves, stays = one(), one()
    clients = [socket.create_connection((address, port)) for _ in range(40)]
    for client in clients:
        client.sendall(b"request")
    leaves.close()
    for _ in clients:
        server = stays.accept()[0]
        server.recv(100)
        server.sendall(b"answer")
        kept.append(server)
    answers = sum(client.recv(100) == b"answer" for client in clients)
    for client in clients:
        client.close()
    for server in kept:
        assert server.recv(1) == b""
        server.close()
    stays.close()
    return answers


def begin():
    print("prepared", flush=True)
    sys.stdin.readline()


def done(made):
    print("ready", flush=True)
    print(json.dumps(made), flush=True)
    sys.stdin.read()


pipe = os.pipe()
if role == "faults":
    with listener(7206) as s:
        strangers = forgotten(s)
    listening = listener(7207)
    strangers += forgotten(listening)
    begin()
    made = {"told": told(listener(7201)), "race": race(listener(7202))}
    made["half_close"] = half_close(listener(7203))
    made["forking"] = forking(listener(7204))
    child = inherited(listener(7205))
    made["child"] = child.pid
    speak(strangers)
    made["strangers"] = len(strangers)
    try:
        done(made)
    finally:
        child.kill()
        child.wait()
elif role == "innocent":
    begin()
    refused()
    clean(listener(7201), 100)
    answered_half_close(listener(7202))
    gives_up(listener(7203))
    close_notify(listener(7204), 24)
    close_notify(listener(7205), 31)
    abort(pair(listener(7206))[0])
    done({"migrated": migrates(7207)})
elif role == "leaves":
    with listener(int(sys.argv[3])) as s:
        print("ready", flush=True)
        while True:
            server = s.accept()[0]
            server.recv(100)
            server.sendall(b"answer")
            server.close()
else:
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(sys.argv[4])):
        with socket.create_connection((address, int(sys.argv[3]))) as client:
            client.sendall(b"request")
            client.recv(100)
            wait_fin(client)
            client.sendall(b"r" * 50)
            wait_reset(client)
    print("done", flush=True)
    sys.stdin.read()
