#!/usr/bin/env python3
"""Counts the instructions of lastbyte's hot paths with valgrind's callgrind.

Builds the tree (this one, or a checkout of another commit: --tree) with the profile
`profiling` and counts user-space instructions. What the kernel does is not counted.
A path is run a few times and many times, and the difference is divided by the
difference of the times, so that a program's start and end do not count. Paths:

    an observation     a look of the state machine that changes nothing
    a whole ending     three looks, from the beginning to the report
    lb_close           a close whose data is acknowledged already, in the thread that calls
    submission         lb_closer_close, in the thread that calls it
    engine             what the closer does for a connection on its own thread
    shim: file         what the shim adds to open and close of /dev/null
    shim: socket       what the shim adds to the life of a connection of loopback, from
                       connect and accept to close() of both ends
    watch              what `lastbyte watch --json` spends on one ending, observed by
                       all sources that this user may read

All but the last are the same on every run within 1 %. `watch` varies by some 5 % with
how many endings one wake-up finds; figures are medians over rounds. Needs valgrind
and a C compiler (Debian: valgrind, gcc).

    scripts/count-instructions.py --tree ../before --json before.json
    scripts/count-instructions.py --before before.json
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import lib

CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
# How long a watch under valgrind may take to start, and to catch up with its sources.
START_SECONDS, SETTLE_SECONDS = 60, 5


def collected(text):
    found = re.findall(r"Collected : (\d+)", text)
    if len(found) != 1:
        sys.exit(f"callgrind counted not one program: {text}")
    return int(found[0])


class Tree:
    def __init__(self, root, folder):
        self.root, self.folder = Path(root).resolve(), Path(folder)
        build = ["cargo", "build", "--quiet", "--profile", "profiling"]
        subprocess.run([*build, "-p", "lastbyte-cli", "-p", "lastbyte-capi"], cwd=self.root, check=True)
        target = Path(os.environ.get("CARGO_TARGET_DIR", self.root / "target")) / "profiling"
        self.command = target / "lastbyte"
        self.closes = self.folder / "closes"
        source = lib.ROOT / "scripts" / "instructions" / "closes.c"
        subprocess.run(["cc", "-O1", "-o", self.closes, source, "-ldl"], check=True)
        self.environment = {**os.environ, "LASTBYTE_LIBRARY": str(target / "liblastbyte_capi.so")}

    def machine(self):
        """The state machine's figures, which a bench of the tree counts."""
        bench = ["cargo", "bench", "--quiet", "--profile", "profiling", "-p", "lastbyte-bench",
                 "--features", "internals", "--bench", "instructions"]
        text = subprocess.run(bench, cwd=self.root, capture_output=True, text=True, check=True).stdout
        figures = [float(count) for count in re.findall(r"^ *([\d.]+) instructions", text, re.M)]
        if len(figures) != 2:
            sys.exit(f"the bench printed {text!r}")
        return dict(zip(("an observation", "a whole ending"), figures))

    def per(self, mode, few, many, toggle=(), prefix=()):
        """Instructions of one of `mode`'s repetitions."""
        counts = []
        for times in (few, many):
            command = [*prefix, *CALLGRIND, *toggle, self.closes, mode, str(times)]
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
            counts.append(collected(done.stderr))
        return (counts[1] - counts[0]) / (many - few)

    def library(self):
        connection = self.per("sockets", 100, 600)
        submission = self.per("closer", 100, 600, ["--toggle-collect=lb_closer_close"])
        return {
            "lb_close": self.per("call", 100, 600, ["--toggle-collect=lb_close"]),
            "submission": submission,
            "engine": self.per("closer", 100, 600) - connection - submission,
        }

    def shim(self):
        run = (self.command, "run", "--")
        return {f"shim: {name}": self.per(mode, few, many, prefix=run) - self.per(mode, few, many)
                for name, mode, few, many in (("file", "files", 1000, 11000), ("socket", "sockets", 100, 600))}

    def watched(self, connections):
        """Instructions of a watch that sees so many connections, and its endings."""
        errors = self.folder / "watch"
        with open(errors, "w") as out:
            command = [*CALLGRIND, self.command, "watch", "--json"]
            watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, text=True)
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(watch.stdout))
        reader.start()
        until = time.monotonic() + START_SECONDS
        while not lines:
            if time.monotonic() > until or watch.poll() is not None:
                sys.exit(f"watch reports nothing: {errors.read_text()}")
            subprocess.run([self.closes, "sockets", "1"], check=True)
            time.sleep(0.2)
        subprocess.run([self.closes, "sockets", str(connections)], check=True)
        # The same for every count: the difference takes away what its ticks cost.
        time.sleep(SETTLE_SECONDS)
        watch.send_signal(signal.SIGTERM)
        watch.wait(START_SECONDS)
        reader.join()
        return collected(errors.read_text()), len(lines)

    def watch(self):
        (few, few_endings), (many, many_endings) = self.watched(200), self.watched(1200)
        return {"watch": (many - few) / (many_endings - few_endings)}


def count(tree, options):
    rounds = []
    for number in range(options.rounds):
        lib.progress(f"round {number + 1} of {options.rounds}")
        figures = {}
        for path in (tree.library, tree.shim, tree.watch):
            if options.only in path.__name__:
                figures |= path()
        rounds.append(figures)
    lib.progress("")
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def table(figures, before):
    for name, figure in figures.items():
        line = f"{name:<16}{figure:>12,.1f}"
        if name in before:
            line += f"   before {before[name]:>12,.1f}   {(figure / before[name] - 1) * 100:+6.1f} %"
        print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", default=lib.ROOT, help="a checkout; this one if left out")
    parser.add_argument("--json", metavar="FILE", help="write the figures to it")
    parser.add_argument("--before", metavar="FILE", help="compare with figures that --json wrote")
    parser.add_argument("--only", default="", choices=("machine", "library", "shim", "watch"),
                        help="count only these paths")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    before = json.loads(Path(options.before).read_text()) if options.before else {}
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(options.tree, folder)
        figures = tree.machine() if options.only in "machine" else {}
        lib.enter_network()
        figures |= count(tree, options)
    table(figures, before)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
