"""The story of a slow server, played again: who does what is the first argument.

    leaky ADDRESS PORT          a server that does not close after recv returned 0
    first ADDRESS PORT          a server that answers and closes first
    visit ADDRESS PORT N        N connections held open, then all closed
    load ADDRESS PORT SECONDS   connections one after the other; the server closes first
    eager ADDRESS PORT SECONDS  some hundred a second; this client closes first
    accept ADDRESS PORT         a server that waits for the client to close

Says "ready" when it is under way. Bounded in number and in time.
"""

import ctypes
import select
import socket
import sys
import time

PR_SET_NAME = 15
role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
ctypes.CDLL(None).prctl(PR_SET_NAME, role.encode(), 0, 0, 0)
END = time.monotonic() + 60


def ready():
    print("ready", flush=True)


def listener():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    s.listen(512)
    ready()
    return s


def incoming(s):
    while time.monotonic() < END:
        if select.select([s], [], [], 1)[0]:
            yield s.accept()[0]


if role == "leaky":
    kept = []
    for connection in incoming(listener()):
        while connection.recv(4096):
            pass
        # recv returned 0. And that was all.
        kept.append(connection)
elif role == "first":
    for connection in incoming(listener()):
        connection.recv(4096)
        connection.sendall(b"answer")
        connection.close()
elif role == "accept":
    for connection in incoming(listener()):
        connection.recv(4096)
        connection.sendall(b"answer")
        connection.recv(1)
        connection.close()
elif role == "visit":
    connections = []
    for _ in range(int(sys.argv[4])):
        connections.append(socket.create_connection((address, port)))
        connections[-1].sendall(b"hello")
    for connection in connections:
        connection.close()
    ready()
else:
    until = time.monotonic() + float(sys.argv[4])
    ready()
    while time.monotonic() < until:
        s = socket.create_connection((address, port))
        s.sendall(b"question")
        s.recv(4096)
        if role == "load":
            s.recv(1)
        s.close()
        if role == "eager":
            # Ports are to run low while somebody looks, not before.
            time.sleep(0.005)
