"""What the checks share: an example built and running, and ended again."""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(features):
    command = ["cargo", "build", "--quiet", "--release", "-p", "lastbyte", "--examples"]
    subprocess.run([*command, "--features", features], cwd=ROOT, check=True)


def enter_network(**settings):
    """A network of our own, with its loopback up (ioctl SIOCSIFFLAGS, netdevice(7))
    and settings of net.ipv4."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_user, new_net = 0x10000000, 0x40000000
    user, group = os.getuid(), os.getgid()
    if libc.unshare(new_net | (0 if user == 0 else new_user)):
        sys.exit(f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}")
    if user != 0:
        maps = ("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")
        for name, text in maps:
            Path("/proc/self", name).write_text(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH22x", b"lo", 1))
    for name, value in settings.items():
        Path("/proc/sys/net/ipv4", name).write_text(value)


class Example:
    """An example that prints `listening on ADDR`, as a context."""

    def __init__(self, name, *arguments, host="127.0.0.1", prefix=()):
        program = ROOT / "target" / "release" / "examples" / name
        command = [*prefix, program, f"{host}:0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"{name} does not listen: {line!r}")
        self.host, port = line.split()[-1].rsplit(":", 1)
        self.port = int(port)
        self.url = f"http://{self.host}:{port}/"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
