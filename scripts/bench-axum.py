#!/usr/bin/env python3
"""What lastbyte's Listener costs an axum server: requests per second, by wrk.

Bare axum and axum behind Listener take turns, in rounds; each figure is the
median of the rounds' ratios. Keep-alive must reach 0.98 of bare, one request per
connection 0.95; else exit status 1.

Each measurement of connections has an address of its own, in a private network
with ports for all of them: once half of the ports are in TIME_WAIT, wrk's
connect(2) searches for one longer than the request takes.

    scripts/bench-axum.py [--rounds 21] [--seconds 1]
"""

import argparse
import os
import re
import statistics
import subprocess
import sys

import lib


def on_cpu(which):
    """A CPU each for server and clients, where there are two: what varies then is
    the server's work, and not who runs where."""
    cpus = sorted(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", str(cpus[which])] if len(cpus) > 1 else []


def requests_per_second(server, seconds, *headers):
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", *headers, server.url]
    command = [*on_cpu(-1), *command]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    errors = re.search(r"Socket errors: (.*)", out)
    if errors and re.search(r"(connect|write|timeout) [1-9]", errors[1]):
        sys.exit(f"wrk could not measure: {errors[0]}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])


def example(flags, host):
    return lib.Example("early_413", *flags, host=host, prefix=on_cpu(0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21, help="21 unless given")
    parser.add_argument("--seconds", type=int, default=1, help="for each measurement (1)")
    arguments = parser.parse_args()
    lib.build("axum,serde")
    lib.enter_network(ip_local_port_range="1024 65535", tcp_max_tw_buckets="4000000")

    missed = False
    print(f"{'scenario':24} {'bare':>9} {'lastbyte':>9} {'ratio':>6}  rounds' quartiles")
    scenarios = [
        ("keep-alive", 0.98, []),
        ("request per connection", 0.95, ["-H", "Connection: close"]),
    ]
    hosts = (f"127.0.{i}.{j}" for i in range(1, 256) for j in range(1, 255))
    for name, mark, headers in scenarios:
        pairs = []
        # The first round is for the caches.
        for i in range(arguments.rounds + 1):
            lib.progress(f"{name}: round {i} of {arguments.rounds}")
            pair = {}
            turns = [("bare", ["--bare"]), ("lastbyte", [])]
            for server, flags in turns if i % 2 else reversed(turns):
                with example(flags, next(hosts)) as running:
                    pair[server] = requests_per_second(running, arguments.seconds, *headers)
            pairs.append((pair["bare"], pair["lastbyte"]))
        lib.progress("")
        del pairs[0]
        ratios = [ours / bare for bare, ours in pairs]
        ratio = statistics.median(ratios)
        low, _, high = statistics.quantiles(ratios, n=4)
        rate_bare = statistics.median(bare for bare, _ in pairs)
        rate_ours = statistics.median(ours for _, ours in pairs)
        print(
            f"{name:24} {rate_bare:9.0f} {rate_ours:9.0f} {ratio:6.3f}  {low:.3f} to {high:.3f}",
            flush=True,
        )
        missed |= ratio < mark
    if missed:
        sys.exit("missed: keep-alive wants 0.98, one request per connection 0.95")


if __name__ == "__main__":
    main()
