#!/usr/bin/env python3
"""The manual's first program, without and with `lastbyte run`.

A plain C program sets SO_LINGER to two seconds and closes a connection whose peer
stops reading. The manual promises an error then; the kernel returns success and
goes on delivering; under the shim close() keeps the promise.

    scripts/demo-run.py [--lastbyte PATH]        (needs a C compiler: cc)
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      "../crates/lastbyte-cli/tests/run/programs/manual-b.c")


def act(title, prefix, program, seconds):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        process = subprocess.Popen(prefix + [program, str(listener.getsockname()[1]), str(seconds)],
                                   stdout=subprocess.PIPE, text=True)
        peer, _ = listener.accept()
        # It stops reading: not a byte is taken until the program is over.
        output = process.communicate()[0].split()
    result, error, time = int(output[1]), int(output[2]), float(output[3])
    print(f"{title}:")
    print(f"  close() returned {result}" + (f" ({os.strerror(error)})" if error else "") + f" after {time:.3f} s")
    got = 0
    try:
        peer.settimeout(30)
        while data := peer.recv(1 << 16):
            got += len(data)
        end = "end of file"
    except ConnectionResetError:
        end = "ECONNRESET"
    print(f"  the peer, reading after that, got {got} bytes and then {end}")
    peer.close()
    return result, error, end


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lastbyte", default="lastbyte")
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "manual-b")
        subprocess.run(["cc", "-D_GNU_SOURCE", "-o", program, SOURCE], check=True)
        act("Without lastbyte", [], program, options.seconds)
        act("Under lastbyte run", [options.lastbyte, "run", "--"], program, options.seconds)


if __name__ == "__main__":
    sys.exit(main())
