#!/usr/bin/env python3
"""What `lastbyte run` costs: nginx under wrk, redis-server under redis-benchmark.

Each server is started twice, plain and under the shim, and both are measured in
turn within each round, in alternating order; the figure is the median over rounds
of the rounds' ratios (shim / plain). All in a network namespace of its own without
TIME_WAIT, so that no round pays for the ports that an earlier one used up.

    scripts/run-throughput.py [--rounds N] [--seconds S] [--only NAME] [--lastbyte PATH]
"""

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import lib

NGINX = """
user root; daemon off; master_process on; worker_processes 1; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "{body}"; }} }} }}
"""


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            sys.exit(f"{program} is not installed (Debian: nginx-light wrk redis-server redis-tools)")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process):
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if process.poll() is not None:
            sys.exit(f"a server ended with status {process.returncode} before it listened")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit("a server did not listen within 10 s")


class Server:
    def __init__(self, prefix, folder, make):
        self.port = free_port()
        os.makedirs(folder)
        self.process = subprocess.Popen(prefix + make(folder, self.port), stdout=subprocess.DEVNULL)
        wait_for(self.port, self.process)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def nginx(folder, port):
    path = os.path.join(folder, "conf")
    with open(path, "w") as f:
        f.write(NGINX.format(folder=folder, port=port, body="x" * 1024))
    return ["nginx", "-c", path, "-p", folder]


def redis(folder, port):
    return ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder,
            "--appendonly", "no", "--daemonize", "no"]


def wrk(port, seconds, close):
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s"]
    if close:
        command += ["-H", "Connection: close"]
    text = subprocess.run(command + [f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        sys.exit(f"wrk saw failures:\n{text}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))


def redis_benchmark(port, seconds, close):
    count = str(seconds * (20000 if close else 100000))
    keep = "0" if close else "1"
    text = subprocess.run(["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-t", "set", "-c", "32", "-n", count,
                           "-k", keep, "--csv"], capture_output=True, text=True, check=True).stdout
    return float(re.search(r'"SET[^"]*","([\d.]+)"', text).group(1))


SCENARIOS = {
    "nginx keep-alive": (nginx, lambda port, s: wrk(port, s, False), 0.97),
    "nginx one request a connection": (nginx, lambda port, s: wrk(port, s, True), 0.90),
    "redis keep-alive": (redis, lambda port, s: redis_benchmark(port, s, False), 0.97),
    "redis one request a connection": (redis, lambda port, s: redis_benchmark(port, s, True), 0.90),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--options", default="", help="options of lastbyte run, such as --summary")
    parser.add_argument("--lastbyte", default="target/release/lastbyte")
    options = parser.parse_args()
    need("nginx", "wrk", "redis-server", "redis-benchmark")
    lib.enter_network(tcp_max_tw_buckets="0")
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for index, (name, (make, measure, mark)) in enumerate(SCENARIOS.items()):
            if options.only not in name:
                continue
            plain = Server([], f"{folder}/{index}-plain", make)
            shim = Server([options.lastbyte, "run", *options.options.split(), "--"], f"{folder}/{index}-shim", make)
            ratios, rates = [], {plain: [], shim: []}
            for number in range(options.rounds + 1):
                got = {}
                for server in [plain, shim] if number % 2 else [shim, plain]:
                    got[server] = measure(server.port, options.seconds)
                if number:  # the first round warms up
                    ratios.append(got[shim] / got[plain])
                    for server, rate in got.items():
                        rates[server].append(rate)
            plain.stop()
            shim.stop()
            ratio = statistics.median(ratios)
            missed |= ratio < mark
            print(f"{name}: {ratio:.3f} (mark {mark}; rounds {min(ratios):.3f} to {max(ratios):.3f}; "
                  f"{statistics.median(rates[plain]):.0f}/s plain, {statistics.median(rates[shim]):.0f}/s under the shim)",
                  flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
