"""A mix of endings, made by an ordinary program, and what each truly was.

Writes one JSON object per connection end to stdout. The numbers come from the
sockets themselves (what send() accepted, SIOCOUTQ, SIOCINQ before the end), not
from whatever watches. Everything runs on the loopback of the network namespace it is
started in, by IPv4, IPv6 or between both (a server that accepts either), as the
argument says: 4, 6 or both. Every wait is for something and bounded.
"""

import ctypes
import json
import os
import select
import signal
import socket
import sys
import threading
import time

from sockets import ends, fill, linger, queued, unread, wait_for, wait_reset

ME = os.getpid()
TCP_USER_TIMEOUT = 18
PR_SET_PDEATHSIG = 1
SERVER = {"4": (socket.AF_INET, "127.0.0.1"), "6": (socket.AF_INET6, "::1"),
          "both": (socket.AF_INET6, "::")}[sys.argv[1]]
CLIENT = "::1" if sys.argv[1] == "6" else "127.0.0.1"
truths = []


def listening(receive_buffer=None, backlog=8):
    family, address = SERVER
    listener = socket.socket(family)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind((address, 0))
    listener.listen(backlog)
    return listener


def connected(listener):
    return socket.create_connection((CLIENT, listener.getsockname()[1]))


def pair(receive_buffer=None):
    """A connected pair: who connected, who accepted."""
    with listening(receive_buffer) as listener:
        return connected(listener), listener.accept()[0]


def truth(name, where, **fields):
    record = {"name": name, "pid": ME, "comm": "python3", "error": None, "rst_code": None}
    record.update(where)
    record.update(fields)
    if "lost" in fields and "sent" in fields and fields["sent"] is not None:
        record.setdefault("acked", fields["sent"] - fields["lost"])
    truths.append(record)


NO_RST = {"rst_by": "none"}


def rst(by, code):
    return {"rst_by": by, "rst_code": code}


def clean(first):
    """Both close; everything was read."""
    client, server = pair()
    client.sendall(b"q" * 1000)
    wait_for("the question", lambda: unread(server) == 1000)
    server.recv(2000)
    server.sendall(b"a" * 300)
    wait_for("the answer", lambda: unread(client) == 300)
    client.recv(2000)
    where = {"client": ends(client), "server": ends(server)}
    one, other = (client, server) if first == "client" else (server, client)
    one.close()
    assert other.recv(1) == b""
    other.close()
    for side, sent, received in (("client", 1000, 300), ("server", 300, 1000)):
        truth(
            f"clean, {first} first, {side}",
            where[side],
            fate="confirmed",
            closed_first="local" if side == first else "peer",
            sent=sent,
            lost=0,
            received=received,
            unread=0,
            closer_pid=ME,
            **NO_RST,
        )


def unread_input():
    client, server = pair(4096)
    client.sendall(b"q" * 77)
    wait_for("the question", lambda: unread(server) == 77)
    sent = fill(server)
    lost, arrived = queued(server), unread(client)
    where = [ends(server), ends(client)]
    server.close()
    code = "TCP_ABORT_ON_CLOSE"
    truth("unread input, closer", where[0], fate="aborted", closed_first="local", sent=sent,
          lost=lost, received=77, unread=77, closer_pid=ME, **rst("local", code))
    wait_reset(client)
    client.close()
    truth("unread input, peer", where[1], fate="reset", closed_first="peer", sent=77, lost=0,
          received=arrived, unread=arrived, **rst("peer", code))


def late_input_all_delivered():
    """The peer writes after we are gone; what we wrote was delivered."""
    client, server = pair()
    server.sendall(b"h" * 10)
    wait_for("the hello", lambda: unread(client) == 10)
    client.recv(10)
    where = [ends(server), ends(client)]
    server.close()
    assert client.recv(1) == b""
    # The FIN is acknowledged late (delayed ACK): only then is the socket gone.
    wait_for("the FIN's ACK", lambda: not in_table(where[0]["local"], "04"))
    client.sendall(b"l" * 50)
    wait_reset(client)
    client.close()
    code = "TCP_TIMEWAIT_SOCKET"
    truth("late input, closer", where[0], fate="delivered", closed_first="local", sent=10, lost=0,
          received=0, unread=None, closer_pid=ME, **rst("local", code))
    truth("late input, peer", where[1], fate="reset", closed_first="peer", sent=50, lost=50,
          received=10, unread=0, **rst("peer", code))


def reset_after_delivery():
    """All was delivered, our FIN too; then the peer closes without reading it."""
    client, server = pair()
    server.sendall(b"h" * 10)
    where = [ends(server), ends(client)]
    server.close()
    wait_for("the FIN's ACK", lambda: not in_table(where[0]["local"], "04"))
    client.close()
    code = "TCP_ABORT_ON_CLOSE"
    truth("reset after delivery, closer", where[0], fate="delivered", closed_first="local", sent=10,
          lost=0, received=0, unread=0, closer_pid=ME, **rst("peer", code))
    truth("reset after delivery, peer", where[1], fate="aborted", closed_first="peer", sent=0,
          lost=0, received=10, unread=10, closer_pid=ME, **rst("local", code))


def in_table(local, state):
    port = "%04X" % int(local.rsplit(":", 1)[1])
    rows = []
    for table in ("tcp", "tcp6"):
        with open("/proc/self/net/" + table) as lines:
            rows += [line.split() for line in lines][1:]
    return any(row[1].endswith(":" + port) and row[3] == state for row in rows)


def late_input_queue_full():
    """The peer writes while our queue is still full: the queue is lost."""
    client, server = pair(4096)
    sent = fill(client)
    lost, arrived = queued(client), unread(server)
    where = [ends(client), ends(server)]
    client.close()
    server.sendall(b"u" * 30)
    wait_reset(server)
    server.close()
    code = "TCP_ABORT_ON_DATA"
    truth("late input on a full queue, closer", where[0], fate="aborted", closed_first="local",
          sent=sent, lost=lost, received=0, unread=None, closer_pid=ME, **rst("local", code))
    truth("late input on a full queue, peer", where[1], fate="reset", closed_first="peer", sent=30,
          lost=30, received=arrived, unread=arrived, **rst("peer", code))


def orphan_reset():
    """close() returned 0; then the peer reset the orphan."""
    client, server = pair(4096)
    sent = fill(client)
    lost, arrived = queued(client), unread(server)
    where = [ends(client), ends(server)]
    client.close()
    server.close()
    code = "TCP_ABORT_ON_CLOSE"
    truth("orphan reset, closer", where[0], fate="reset", closed_first="local", sent=sent,
          lost=lost, received=0, unread=0, closer_pid=ME, **rst("peer", code))
    truth("orphan reset, peer", where[1], fate="aborted", closed_first="local", sent=0, lost=0,
          received=arrived, unread=arrived, closer_pid=ME, **rst("local", code))


def child(work):
    """Runs `work(ready)` in a child that then waits to be killed."""
    out, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        # It must not outlive a parent that failed.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.close(out)
        # What it returns stays open.
        kept = work(lambda text: os.write(ready, json.dumps(text).encode()))
        signal.pause()
        del kept
        os._exit(0)
    os.close(ready)
    told = json.loads(os.read(out, 4096))
    os.close(out)
    return pid, told


def killed():
    """SIGKILL with data queued: the kernel goes on delivering."""
    listener = listening(4096, 1)

    def work(ready):
        s = connected(listener)
        ready({"sent": fill(s), **ends(s)})
        return s

    pid, told = child(work)
    server, _ = listener.accept()
    listener.close()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    # A small window filled the queue; a large one empties it quickly.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    got = 0
    while data := server.recv(1 << 16):
        got += len(data)
    assert got == told["sent"], (got, told)
    where = ends(server)
    server.close()
    sent = told.pop("sent")
    truth("killed with data queued, the killed", told, fate="confirmed", closed_first="local",
          sent=sent, lost=0, received=0, unread=0, pid=pid, closer_pid=pid, **NO_RST)
    truth("killed with data queued, peer", where, fate="confirmed", closed_first="peer", sent=0,
          lost=0, received=sent, unread=0, closer_pid=ME, **NO_RST)


def killed_unread():
    """SIGKILL with data queued and input unread: all is lost at once."""
    listener = listening(4096, 1)

    def work(ready):
        s = connected(listener)
        poll = select.poll()
        poll.register(s, select.POLLIN)
        poll.poll(10_000)
        ready({"sent": fill(s), "lost": queued(s), **ends(s)})
        return s

    accepted = []

    def accept():
        server, _ = listener.accept()
        server.sendall(b"i" * 33)
        accepted.append(server)

    thread = threading.Thread(target=accept)
    thread.start()
    pid, told = child(work)
    thread.join()
    listener.close()
    server = accepted[0]
    arrived, where = unread(server), ends(server)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_reset(server)
    server.close()
    sent, lost = told.pop("sent"), told.pop("lost")
    code = "TCP_ABORT_ON_CLOSE"
    truth("killed with unread input, the killed", told, fate="aborted", closed_first="local",
          sent=sent, lost=lost, received=33, unread=33, pid=pid, closer_pid=pid,
          **rst("local", code))
    truth("killed with unread input, peer", where, fate="reset", closed_first="peer", sent=33,
          lost=0, received=arrived, unread=arrived, **rst("peer", code))


def user_timeout():
    """The peer reads nothing for longer than TCP_USER_TIMEOUT allows."""
    client, server = pair(4096)
    client.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 500)
    sent = fill(client)
    lost, where = queued(client), ends(client)
    wait_reset(client)
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 110
    client.close()
    truth("user timeout", where, fate="failed", error="ETIMEDOUT", closed_first=None, sent=sent,
          lost=lost, received=0, unread=0, **NO_RST)
    # Its own peer knows nothing of it: this end stays out of the mix.
    linger(server, 0)
    server.close()


def orphan_given_up():
    """The same, when close() has returned 0 and nobody can be told why."""
    client, server = pair(4096)
    client.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 500)
    sent = fill(client)
    lost, where = queued(client), ends(client)
    client.close()
    wait_for("the kernel to give up", lambda: not in_table(where["local"], "04"))
    truth("orphan given up", where, fate="failed", closed_first="local", sent=sent, lost=lost,
          received=0, unread=0, closer_pid=ME, **NO_RST)
    linger(server, 0)
    server.close()


def full_backlog():
    """A listener with a full backlog closes: nobody had accepted them."""
    listener = listening(backlog=1)
    clients = []
    for _ in range(2):
        client = connected(listener)
        client.sendall(b"12345")
        wait_for("the ACK", lambda: queued(client) == 0)
        clients.append((client, ends(client)))
    return listener, clients


def close_backlog(listener, clients):
    listener.close()
    code = "TCP_STATE"
    for client, where in clients:
        wait_reset(client)
        client.close()
        back = {"local": where["remote"], "remote": where["local"]}
        truth("full backlog, never accepted", back, fate="aborted", closed_first="local", sent=0,
              lost=0, received=5, unread=5, pid=None, comm=None, closer_pid=ME,
              **rst("local", code))
        truth("full backlog, client", where, fate="reset", closed_first="peer", sent=5, lost=0,
              received=0, unread=0, **rst("peer", code))


def leaked_close_wait():
    """The peer closes; this end read EOF and never closes, until it is made to."""
    client, server = pair()
    client.sendall(b"q" * 9)
    wait_for("the question", lambda: unread(server) == 9)
    server.recv(9)
    where = [ends(client), ends(server)]
    client.close()
    assert server.recv(1) == b""
    return server, where, time.monotonic()


def abort_full():
    client, server = pair(4096)
    return client, server, fill(client)


def abort_unfull():
    """What is queued is not all that fits."""
    client, server = pair(4096)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    client.sendall(b"x" * 40_000)
    return client, server


def moved_since():
    """What comes and goes after the last look leaves no trace when on+0 wipes it."""
    reader, peer = pair()
    peer.sendall(b"1" * 5)
    wait_for("the input", lambda: unread(reader) == 5)
    reader.recv(5)
    writer, other = abort_unfull()
    return reader, peer, writer, other


def abort_moved(reader, peer, writer, other):
    peer.sendall(b"2" * 6)
    wait_for("more input", lambda: unread(reader) == 6)
    reader.recv(6)
    wait_for("the ACK", lambda: queued(peer) == 0)
    writer.send(b"y" * 100)
    arrived = unread(other)
    reads, writes = [ends(reader), ends(peer)], [ends(writer), ends(other)]
    for s, far in ((reader, peer), (writer, other)):
        linger(s, 0)
        s.close()
        wait_reset(far)
        far.close()
    code = "TCP_STATE"
    truth("on+0 after more input, closer", reads[0], fate="aborted", closed_first="local",
          received=None, unread=0, closer_pid=ME, **rst("local", code))
    truth("on+0 after more input, peer", reads[1], fate="reset", closed_first="peer", sent=11,
          lost=0, received=0, unread=0, **rst("peer", code))
    truth("on+0 after more output, closer", writes[0], fate="aborted", closed_first="local",
          sent=None, lost=None, received=None, unread=0, closer_pid=ME, **rst("local", code))
    truth("on+0 after more output, peer", writes[1], fate="reset", closed_first="peer", sent=0,
          lost=0, received=arrived, unread=arrived, **rst("peer", code))


def main():
    # These have been looked at, alive, before they end: they start first.
    # A look comes twice a second; its time cannot be seen from here.
    aborted, aborted_peer, abort_sent = abort_full()
    listener, backlog = full_backlog()
    leaked, leaked_where, since = leaked_close_wait()
    moved = moved_since()
    begun = time.monotonic()

    clean("client")
    clean("server")
    unread_input()
    late_input_all_delivered()
    reset_after_delivery()
    late_input_queue_full()
    orphan_reset()
    killed()
    killed_unread()
    user_timeout()
    orphan_given_up()
    time.sleep(max(0, begun + 2.5 - time.monotonic()))

    lost, arrived = queued(aborted), unread(aborted_peer)
    where = [ends(aborted), ends(aborted_peer)]
    linger(aborted, 0)
    aborted.close()
    wait_reset(aborted_peer)
    aborted_peer.close()
    code = "TCP_STATE"
    # What it received before the last look is known, and not whether more came since.
    truth("on+0, closer", where[0], fate="aborted", closed_first="local", sent=abort_sent,
          lost=lost, received=None, unread=0, closer_pid=ME, **rst("local", code))
    truth("on+0, peer", where[1], fate="reset", closed_first="peer", sent=0, lost=0,
          received=arrived, unread=arrived, **rst("peer", code))

    abort_moved(*moved)
    close_backlog(listener, backlog)

    held = time.monotonic() - since
    leaked.close()
    truth("leaked CLOSE_WAIT, client", leaked_where[0], fate="confirmed", closed_first="local",
          sent=9, lost=0, received=0, unread=0, closer_pid=ME, **NO_RST)
    truth("leaked CLOSE_WAIT, holder", leaked_where[1], fate="confirmed", closed_first="peer",
          sent=0, lost=0, received=9, unread=0, closer_pid=ME, held_s=held, **NO_RST)

    for record in truths:
        print(json.dumps(record))
    sys.stdout.flush()


main()
