"""What the scripts beside this one ask sockets and wait for; every wait is bounded."""

import fcntl
import select
import socket
import struct
import termios
import time


def linger(s, seconds):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))


def ends(s):
    def name(address):
        ip = address[0].removeprefix("::ffff:")
        return ("[%s]:%d" if ":" in ip else "%s:%d") % (ip, address[1])

    return {"local": name(s.getsockname()), "remote": name(s.getpeername())}


def pair(receive_buffer=None):
    """A connected pair on the loopback: who connected, who accepted."""
    with socket.socket() as listener:
        if receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        return socket.create_connection(listener.getsockname()), listener.accept()[0]


def queued(s):
    return struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, b"\0" * 4))[0]


def unread(s):
    return struct.unpack("i", fcntl.ioctl(s, termios.FIONREAD, b"\0" * 4))[0]


def wait_for(what, holds):
    end = time.monotonic() + 10
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.001)


def wait_reset(s):
    poll = select.poll()
    poll.register(s, select.POLLERR | select.POLLHUP)
    assert poll.poll(10_000), "no reset came"


def fill(s):
    """Writes until nothing more fits and nothing more moves; how much it was."""
    s.setblocking(False)
    sent, before = 0, None
    while sent != before:
        before = sent
        try:
            while True:
                sent += s.send(b"x" * 4096)
        except BlockingIOError:
            pass
        # What is acknowledged meanwhile makes room again.
        stand_still(s)
    s.setblocking(True)
    return sent


def stand_still(s):
    last = [None, time.monotonic()]

    def still():
        now = queued(s)
        if now != last[0]:
            last[:] = [now, time.monotonic()]
        return time.monotonic() - last[1] > 0.1

    wait_for("the queue to stand still", still)
