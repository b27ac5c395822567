#!/usr/bin/env python3
"""A deploy with thousands of responses in flight: do the sums hold?

Opens connections to the example deploy_drain, each for a response that a slow
reader takes at its own pace, sends SIGTERM and gives it ten seconds. What the
server says was acknowledged must be what the clients counted, byte for byte, and
every connection must be accounted for; else exit status 1.

    scripts/check-deploy.py [--connections 5000] [--seconds 10]
"""

import argparse
import json
import multiprocessing
import random
import resource
import selectors
import signal
import socket
import sys
import time

import lib

TICK = 0.25


def clients(address, count, seed, ready, go, over, results):
    """Slow readers, in a process of their own for its descriptors."""
    draw = random.Random(seed)
    waiting = []
    for _ in range(count):
        client = socket.socket()
        # A small window: what is on its way stays with the server.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client.connect(address)
        # Most fit into the server's send queue; some it cannot even finish writing.
        size = draw.randrange(50_000, 400_000) if draw.random() < 0.9 else 10_000_000
        client.sendall(f"GET /{size} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        client.setblocking(False)
        pace = int(10 ** draw.uniform(2.5, 4.7))
        waiting.append((client, pace))
    total = eofs = resets = 0
    # All responses are in flight once each has begun to arrive.
    begun = set()
    with selectors.EpollSelector() as selector:
        for client, _ in waiting:
            selector.register(client, selectors.EVENT_READ)
        while len(begun) < count:
            for key, _ in selector.select():
                begun.add(key.fd)
                selector.unregister(key.fileobj)
    ready.release()
    # Nobody takes more before the signal, so that nobody is done by then.
    go.wait()

    while waiting:
        began = time.monotonic()
        last = over.is_set()
        still = []
        for client, pace in waiting:
            while True:
                try:
                    data = client.recv(1 << 20 if last else pace)
                except BlockingIOError:
                    still.append((client, pace))
                    break
                except ConnectionResetError:
                    resets += 1
                    client.close()
                    break
                total += len(data)
                if not data:
                    eofs += 1
                    client.close()
                    break
                if not last:
                    still.append((client, pace))
                    break
        waiting = still
        time.sleep(max(0, TICK - (time.monotonic() - began)))
    results.put((total, eofs, resets))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=5000, help="5000 unless given")
    parser.add_argument("--seconds", type=int, default=10, help="for the drain (10)")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lib.build("axum,serde")

    with lib.Example("deploy_drain", "--seconds", str(arguments.seconds)) as server:
        ready = multiprocessing.Semaphore(0)
        go, over = multiprocessing.Event(), multiprocessing.Event()
        results = multiprocessing.Queue()
        halves = [arguments.connections // 2, arguments.connections - arguments.connections // 2]
        processes = [
            multiprocessing.Process(
                target=clients,
                args=((server.host, server.port), n, seed, ready, go, over, results),
                daemon=True,
            )
            for seed, n in enumerate(halves)
        ]
        for process in processes:
            process.start()
        for _ in processes:
            if not ready.acquire(timeout=120):
                sys.exit("the responses do not begin to arrive")
        server.process.send_signal(signal.SIGTERM)
        go.set()
        began = time.monotonic()
        line = server.process.stdout.readline()
        took = time.monotonic() - began
        server.process.wait(timeout=60)
        over.set()
        total, eofs, resets = map(sum, zip(*(results.get(timeout=120) for _ in processes)))
        for process in processes:
            process.join()

    sums = json.loads(line)
    print(line.strip())
    finished = sums["delivered"] + sums["confirmed"]
    cut = sums["timed_out"] + sums["stalled"] + sums["aborted"]
    rows = [
        ("connections", sums["connections"], eofs + resets),
        ("bytes", sums["acked"], total),
        ("to the end", finished, eofs),
        ("reset", cut, resets),
    ]
    print(f"{'':12} {'server':>14} {'clients':>14}")
    for name, ours, theirs in rows:
        print(f"{name:12} {ours:>14} {theirs:>14}")
    print(f"drained in {took:.2f} s")
    if any(ours != theirs for _, ours, theirs in rows):
        sys.exit("missed: the sums are not what the clients counted")
    if sums["connections"] != arguments.connections:
        sys.exit("missed: not every connection was in flight")


if __name__ == "__main__":
    main()
