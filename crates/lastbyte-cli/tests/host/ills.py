"""Ills that an ordinary program brings on its connections, each some times over.

    ills ADDRESS     what goes wrong while somebody looks
    hoards ADDRESS   what stays wrong: held and waiting sockets

"ills" waits for a line on stdin before it begins. Both say "ready" when all is
done that can be seen, and what was lost as a JSON object; then they wait for the
end of stdin with their sockets open. Bounded in number and in time.
"""

import ctypes
import errno
import json
import socket
import struct
import sys
import time

from sockets import fill, queued, unread, wait_for, wait_reset

PR_SET_NAME = 15
TCP_USER_TIMEOUT = 18
role, address = sys.argv[1], sys.argv[2]
ctypes.CDLL(None).prctl(PR_SET_NAME, role.encode(), 0, 0, 0)
TIMES = 4
kept = []


def listener(backlog=16, receive_buffer=None):
    s = socket.socket()
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.bind((address, 0))
    s.listen(backlog)
    return s


def pair(receive_buffer=None):
    with listener(receive_buffer=receive_buffer) as s:
        client = socket.create_connection(s.getsockname())
        return client, s.accept()[0]


def stuff(s):
    """Fills its send queue; how much is in it then."""
    fill(s)
    return queued(s)


def peer_resets_the_orphan():
    client, server = pair(4096)
    lost = stuff(client)
    client.close()
    server.close()
    return lost


def input_comes_late():
    client, server = pair(4096)
    lost = stuff(client)
    client.close()
    server.sendall(b"u" * 30)
    wait_reset(server)
    server.close()
    return lost


def answers_early():
    """A server that answers and closes while the request is still coming."""
    client, server = pair(4096)
    client.sendall(b"q" * 77)
    wait_for("the question", lambda: unread(server) == 77)
    lost = stuff(server)
    server.close()
    wait_reset(client)
    client.close()
    return lost


def peer_falls_silent():
    """The orphan is given up after TCP_USER_TIMEOUT."""
    client, server = pair(4096)
    client.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 300)
    lost = stuff(client)
    end = "%s:%d" % client.getsockname()
    client.close()
    wait_for("the kernel to give up", lambda: not in_table(end))
    # The RST of this end finds nobody.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    return lost


def holder_learns_of_silence():
    """The program still holds it when the kernel gives up after TCP_USER_TIMEOUT."""
    client, server = pair(4096)
    client.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 300)
    lost = stuff(client)
    try:
        client.recv(1)
    except TimeoutError:
        pass
    client.close()
    # The RST of this end finds nobody.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    return lost


def in_table(local):
    host, port = local.rsplit(":", 1)
    want = "%08X:%04X" % (struct.unpack("=I", socket.inet_aton(host))[0], int(port))
    with open("/proc/self/net/tcp") as table:
        return any(line.split()[1] == want for line in list(table)[1:])


def listener_closes():
    with listener() as s:
        clients = [socket.create_connection(s.getsockname()) for _ in range(2)]
    for client in clients:
        wait_reset(client)
        client.close()


def acceptor_is_slow():
    """A backlog overflows: one waits beyond what was asked for, more are dropped."""
    s = listener(backlog=1)
    clients = [socket.create_connection(s.getsockname()) for _ in range(2)]
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        assert client.connect_ex(s.getsockname()) == errno.EINPROGRESS
        clients.append(client)
    kept.append((s, clients))


def buckets_overflow():
    """More in TIME_WAIT than tcp_max_tw_buckets allows here."""
    for _ in range(8):
        client, server = pair()
        client.close()
        assert server.recv(1) == b""
        server.close()


if role == "ills":
    sys.stdin.readline()
    made = {}
    for ill in (
        peer_resets_the_orphan,
        input_comes_late,
        answers_early,
        peer_falls_silent,
        holder_learns_of_silence,
    ):
        made[ill.__name__] = sum(ill() for _ in range(TIMES))
    for _ in range(TIMES):
        listener_closes()
    acceptor_is_slow()
    buckets_overflow()
else:
    for _ in range(TIMES):
        # Shut down, all acknowledged; the peer never closes.
        client, server = pair()
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        kept.append((client, server))
    queue = 0
    for _ in range(TIMES):
        # Closed with a queue that the peer never takes.
        client, server = pair(4096)
        queue += stuff(client)
        client.close()
        kept.append(server)
    made = {"queue": queue}

print("ready", flush=True)
print(json.dumps(made), flush=True)
sys.stdin.read()
