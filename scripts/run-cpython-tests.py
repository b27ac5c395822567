#!/usr/bin/env python3
"""CPython's own network tests, with and without `lastbyte run`: the same results.

    scripts/run-cpython-tests.py [--python PATH] [--lastbyte PATH] [TEST...]

Needs an interpreter with its test package (Debian: python3 libpython3.11-testsuite).
Takes some minutes. Exits with 1 where a test's result differs, and names it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

TESTS = ["test_socket", "test_asyncio", "test_socketserver", "test_httpservers"]


def results(prefix, python, test, folder):
    """Each test's result; those printed on two lines (a docstring) are joined."""
    run = subprocess.run(
        # A virtual machine's vsock may accept for ever, with us or without.
        prefix + [python, "-m", "test", "-v", "--ignore", "*VSOCK*", "-u", "network" if test == "test_socketserver" else "none", test], cwd=folder,
        capture_output=True, text=True, errors="replace", timeout=1800, stdin=subprocess.DEVNULL)
    found, name = {}, None
    for line in (run.stdout + run.stderr).splitlines():
        start = re.match(r"^(\w+ \([\w.]+\))", line)
        if start:
            name = start.group(1)
        end = re.search(r"\.\.\. (?:.*)?(ok|skipped|FAIL|ERROR|expected failure|unexpected success)\b", line)
        if name and end:
            found[name] = end.group(1)
            name = None
    return found, run.returncode, run.stdout + run.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--lastbyte", default="target/debug/lastbyte")
    parser.add_argument("--keep", metavar="FOLDER", help="write the outputs here")
    parser.add_argument("tests", nargs="*", default=TESTS)
    options = parser.parse_args()
    lastbyte = os.path.abspath(options.lastbyte)
    differ = False
    with tempfile.TemporaryDirectory() as folder:
        for test in options.tests:
            plain, plain_status, plain_text = results([], options.python, test, folder)
            shim, shim_status, shim_text = results([lastbyte, "run", "--"], options.python, test, folder)
            if options.keep:
                for kind, text in ("plain", plain_text), ("shim", shim_text):
                    with open(f"{options.keep}/{test}-{kind}", "w") as f:
                        f.write(text)
            if not plain:
                sys.exit(f"{options.python} has no {test}: install its test package (Debian: libpython3.11-testsuite)\n"
                         + plain_text[-2000:])
            counts = {}
            for result in shim.values():
                counts[result] = counts.get(result, 0) + 1
            print(f"{test}: {len(plain)} tests plain (status {plain_status}), {len(shim)} under the shim "
                  f"(status {shim_status}): " + ", ".join(f"{n} {r}" for r, n in sorted(counts.items())), flush=True)
            for name in sorted(plain.keys() | shim.keys()):
                if plain.get(name) != shim.get(name):
                    differ = True
                    print(f"  differs: {name}: {plain.get(name)} plain, {shim.get(name)} under the shim")
            differ |= plain_status != shim_status
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
