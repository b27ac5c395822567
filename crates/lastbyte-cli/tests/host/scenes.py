"""Scenes for a watch, in two acts: what is there before it, and what then happens.

    python3 scenes.py SCENE

Says "ready" after the first act, plays the second at a line of stdin, and writes what
each end truly was, as mix.py does: numbers come from the sockets themselves. Every
wait is for something and bounded.
"""

import ctypes
import errno
import json
import os
import socket
import struct
import subprocess
import sys
import time

from sockets import ends, fill, linger, pair, queued, unread, wait_for, wait_reset

ME = os.getpid()
SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
IPPROTO_MPTCP = 262
TCP_CLOSE, TCP_CLOSING = 7, 11
NO_RST = {"rst_by": "none"}
truths = []


def truth(name, where, also, **fields):
    truths.append({"name": name, **where, **fields, **also})


def rst(by, code):
    return {"rst_by": by, "rst_code": code}


def blackhole(s):
    """Nothing that is sent to it arrives any more: a classic BPF filter, ret #0."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    where = ctypes.addressof(program)
    s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxQ", 1, where))


def clean(name, client, server, **also):
    client.sendall(b"q" * 100)
    wait_for("the question", lambda: unread(server) == 100)
    server.recv(200)
    where = [ends(client), ends(server)]
    client.close()
    assert server.recv(1) == b""
    server.close()
    both = {"fate": "confirmed", "rst_by": "none", "error": None, "closer_pid": ME,
            "lost": 0, "unread": 0}
    truth(f"{name}, closer", where[0], also, closed_first="local", sent=100, received=0, **both)
    truth(f"{name}, peer", where[1], also, closed_first="peer", sent=0, received=100, **both)


def with_unread_input(name, client, server, **also):
    server.sendall(b"i" * 10)
    wait_for("the input", lambda: unread(client) == 10)
    where = [ends(client), ends(server)]
    client.close()
    wait_reset(server)
    server.close()
    code = "TCP_ABORT_ON_CLOSE"
    truth(f"{name}, closer", where[0], also, fate="aborted", closed_first="local", sent=0, lost=0,
          received=10, unread=10, closer_pid=ME, **rst("local", code))
    truth(f"{name}, peer", where[1], also, fate="reset", closed_first="peer", sent=10, lost=0,
          received=0, unread=0, closer_pid=None, **rst("peer", code))


def keepalive_death(name, client, server, **also):
    """The peer answers no more: the kernel resets the connection and gives it up."""
    blackhole(server)
    where = ends(client)
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1),
                          (socket.TCP_KEEPCNT, 1)):
        client.setsockopt(socket.IPPROTO_TCP, option, value)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wait_reset(client)
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 110
    client.close()
    linger(server, 0)
    server.close()
    truth(name, where, also, fate="failed", error="ETIMEDOUT", closed_first=None, sent=0, lost=0,
          closer_pid=None, **rst("local", "TCP_KEEPALIVE_TIMEOUT"))


def cgroup():
    with open("/proc/self/cgroup") as file:
        paths = dict(line.rstrip("\n").split(":", 2)[::2] for line in file)
    below = [path for path in (paths.get("0"), *paths.values()) if path not in (None, "/")]
    return (below or ["/"])[0]


def older():
    """Connections that were there before the watch, beside some that were not."""
    before = [pair() for _ in range(3)]
    yield
    # This process goes on for seconds, so that it can be asked for.
    where = {"netns": os.readlink("/proc/self/ns/net"), "cgroup": cgroup()}
    for act, name, (client, server) in zip(ACTS, NAMES, before):
        act(f"{name}, older than the watch", client, server, evidence="inferred", **where)
    for act, name in zip(ACTS, NAMES):
        act(name, *pair(), evidence="observed")


def strangers():
    """To a watch that has no number for this process."""
    yield
    unknown = {"pid": None, "comm": None, "closer_pid": None, "closer_comm": None}
    for act, name in zip(ACTS, NAMES):
        act(name, *pair(), evidence="observed", **unknown)
    backlog("never accepted", **unknown)


def backlog(name, **also):
    """A listener closes over a connection that nobody has accepted."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    where = ends(client)
    listener.close()
    wait_reset(client)
    client.close()
    code = rst("local", "TCP_STATE")
    reason = "the listener closed before the connection was accepted"
    back = {"local": where["remote"], "remote": where["local"]}
    truth(f"{name}, server", back, also, fate="aborted", rst_reason=reason, **code)


def tcp_state(s):
    return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def crossing():
    """Both close before either's FIN has come: who came first nobody can say."""
    yield
    first, second = pair()
    where = [ends(first), ends(second)]
    for s in (first, second):
        blackhole(s)
    for s in (first, second):
        s.shutdown(socket.SHUT_WR)
    # The next FIN of the first arrives, and its answer does not.
    second.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    wait_for("CLOSING", lambda: tcp_state(second) == TCP_CLOSING)
    first.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    wait_for("the end", lambda: tcp_state(first) == tcp_state(second) == TCP_CLOSE)
    first.close()
    second.close()
    both = {"fate": "confirmed", "evidence": "observed", **NO_RST}
    truth("crossing, whose FIN was answered", where[0], both, closed_first="local")
    truth("crossing, whose FIN met the other's", where[1], both, closed_first=None)


def destroyed():
    """Somebody has the kernel destroy a connection that is not theirs."""
    yield
    reason = "destroyed from outside (SOCK_DESTROY, as ss -K does)"
    both = {"pid": ME, "rst_reason": reason, "evidence": "observed"}
    client, server = pair()
    where = [ends(client), ends(server)]
    killer = destroy(client)
    wait_reset(server)
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNABORTED
    client.close()
    server.close()
    truth("destroyed, held", where[0], both, fate="failed", error="ECONNABORTED",
          closed_first=None, sent=0, lost=0, closer_pid=killer, closer_comm="ss",
          **rst("local", "TCP_STATE"))
    truth("destroyed, its peer", where[1], both, fate="reset", closed_first="peer", sent=0,
          lost=0, closer_pid=None, **rst("peer", "TCP_STATE"))

    client, server = pair(4096)
    sent = fill(client)
    lost, arrived = queued(client), unread(server)
    where = [ends(client), ends(server)]
    name = client.getsockname()[1]
    client.close()
    destroy(name)
    wait_reset(server)
    server.close()
    truth("destroyed, an orphan", where[0], both, fate="aborted", closed_first="local", sent=sent,
          lost=lost, closer_pid=ME, **rst("local", "TCP_STATE"))
    truth("destroyed, an orphan's peer", where[1], both, fate="reset", closed_first="peer",
          received=arrived, closer_pid=None, **rst("peer", "TCP_STATE"))


def destroy(which):
    """By its local port; who did it."""
    port = which if isinstance(which, int) else which.getsockname()[1]
    command = ["ss", "-K", "-tn", "sport", "=", f":{port}"]
    killer = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    assert killer.wait() == 0
    return killer.pid


def disconnected():
    """After the end, connect() with AF_UNSPEC clears what the socket still shows."""
    yield
    client, server = pair()
    where = [ends(client), ends(server)]
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    # The last ACK comes while nobody is at the socket.
    blackhole(client)
    server.shutdown(socket.SHUT_WR)
    client.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    wait_for("the end", lambda: tcp_state(server) == TCP_CLOSE)
    client.close()
    unspecified = ctypes.create_string_buffer(16)
    assert ctypes.CDLL(None).connect(server.fileno(), unspecified, 16) == 0
    server.close()
    truth("disconnected after its end", where[1], {}, fate="confirmed", closed_first="peer",
          error=None, **NO_RST)


def multipath():
    """Subflows of MPTCP: each is told for itself."""
    yield
    part = {"mptcp": True, "sent": None, "lost": None, "unread": None, "closer_pid": None}
    listener = socket.socket(proto=IPPROTO_MPTCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)

    def connection():
        client = socket.socket(proto=IPPROTO_MPTCP)
        client.connect(listener.getsockname())
        return client, listener.accept()[0]

    client, server = connection()
    where = [ends(client), ends(server)]
    client.sendall(b"q" * 1000)
    received = 0
    while received < 1000:
        received += len(server.recv(2000))
    client.close()
    assert server.recv(1) == b""
    server.close()
    truth("a subflow, clean, closer", where[0], part, fate="confirmed", closed_first="local",
          acked=1000, received=0, **NO_RST)
    truth("a subflow, clean, peer", where[1], part, fate="confirmed", closed_first="peer",
          **NO_RST)

    # It lives long enough to be looked at; what it has not read is no longer the subflow's.
    client, server = connection()
    where = [ends(client), ends(server)]
    client.sendall(b"q" * 77)
    wait_for("the input", lambda: unread(server) == 77)
    time.sleep(1.5)
    server.close()
    wait_reset(client)
    client.close()
    code = "TCP_ABORT_ON_CLOSE"
    truth("a subflow, input unread, closer", where[1], part, fate="aborted",
          closed_first="local", received=77, **rst("local", code))
    truth("a subflow, input unread, peer", where[0], part, fate="reset", closed_first="peer",
          **rst("peer", code))
    plain = pair()
    # Null where no look has shown it; a busy machine gives time for one.
    clean("no subflow", *plain, mptcp={"any": [None, False]})


ACTS = [clean, with_unread_input, keepalive_death]
NAMES = ["clean", "unread input", "keepalive death"]
SCENES = {scene.__name__: scene
          for scene in (older, strangers, crossing, destroyed, disconnected, multipath)}


def main():
    scene = SCENES[sys.argv[1]]()
    next(scene)
    print("ready", flush=True)
    sys.stdin.readline()
    next(scene, None)
    for record in truths:
        print(json.dumps(record))


main()
