"""Scenes for a watch, in two acts: what is there before it, and what then happens.

    python3 scenes.py SCENE

Says "ready" after the first act, plays the second at a line of stdin, and writes what
each end truly was, as mix.py does: numbers come from the sockets themselves. Every
wait is for something and bounded.
"""

import ctypes
import json
import os
import socket
import struct
import sys

from sockets import ends, linger, pair, unread, wait_for, wait_reset

ME = os.getpid()
SO_ATTACH_FILTER = 26
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


def older():
    """Connections that were there before the watch, beside some that were not."""
    before = [pair() for _ in range(3)]
    yield
    for act, name, (client, server) in zip(ACTS, NAMES, before):
        act(f"{name}, older than the watch", client, server, evidence="inferred")
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


ACTS = [clean, with_unread_input, keepalive_death]
NAMES = ["clean", "unread input", "keepalive death"]
SCENES = {"older": older, "strangers": strangers}


def main():
    scene = SCENES[sys.argv[1]]()
    next(scene)
    print("ready", flush=True)
    sys.stdin.readline()
    next(scene, None)
    for record in truths:
        print(json.dumps(record))


main()
