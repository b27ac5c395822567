#!/usr/bin/env python3
"""Socket tests of other projects, with and without `lastbyte run`: the same results.

    scripts/run-foreign-suites.py [--lastbyte PATH] [--sources FOLDER] [SUITE...]

    libuv    its own tests of TCP, built from Debian's source package (needs cmake, cc)
    node     test/parallel/test-net-* of Node.js, from Debian's source package (needs node)
    twisted  Twisted's tests of TCP and its reactors, from PyPI (needs python3 with venv)

The sources are fetched when it runs and nothing of them is kept, unless --sources names
a folder to keep them in. Each test runs in a network namespace of its own. Exits with 1
where a test fails under the shim and never without.
"""

import argparse
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from lib import enter_network

os.environ["UV_RUN_AS_ROOT"] = "1"  # libuv's tests refuse root otherwise
TIME = 120  # seconds for one test; what takes longer has failed
AGAIN = 4  # how often a test whose results differ is run once more, each way
TWISTED = ["twisted.internet.test.test_tcp", "twisted.test.test_tcp", "twisted.internet.test.test_endpoints",
           "twisted.web.test.test_http"]
LIBUV = re.compile(r"^(tcp_|shutdown_|connect|multiple_listen|close_|delayed_accept|getsockname_tcp|poll_"
                   r"|ipc_|pipe_|not_.*_after|socket_buffer|callback_stack|watcher_cross)")


def debian_source(package, folder):
    """The unpacked original source of `package`: Debian's, from where this system has its packages."""
    found = sorted(glob.glob(f"{folder}/{package}-*/") + glob.glob(f"{folder}/{package.rstrip('0123456789')}-*/"))
    if found:
        return Path(found[0])
    for part in "lists/partial", "cache/archives/partial", "parts":
        os.makedirs(f"{folder}/{part}", exist_ok=True)
    # The system's own lists, with sources instead of packages.
    for number, path in enumerate([Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]):
        if not path.is_file():
            continue
        text = path.read_text()
        if "debian" not in text:
            continue
        text = re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.M)
        text = re.sub(r"^deb ", "deb-src ", text, flags=re.M)
        Path(folder, "parts", f"{number}{path.suffix}").write_text(text)
    options = ["-qq", "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={folder}/parts",
           "-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache", "-o", "APT::Sandbox::User="]
    subprocess.run(["apt-get", *options, "update"], check=True, timeout=900)
    shown = subprocess.run(["apt-cache", *options, "showsrc", package], stdout=subprocess.PIPE, text=True, check=True)
    versions = list(dict.fromkeys(re.findall(r"^Version: (.*)$", shown.stdout, re.M)))
    # A mirror may list a version whose files it no longer has.
    for version in versions:
        got = subprocess.run(["apt-get", *options, "source", "--download-only", f"{package}={version}"],
                             cwd=folder, timeout=900)
        if got.returncode == 0:
            break
    else:
        sys.exit(f"no version of the source of {package} can be had: {', '.join(versions)}")
    origin = [name for name in glob.glob(f"{folder}/*.orig.tar.*") if Path(name).name.startswith(f"{package}_")]
    subprocess.run(["tar", "-xf", origin[0]], cwd=folder, check=True)
    return debian_source(package, folder)


def libuv(folder):
    """Each test's name, its command, and where it runs."""
    source = debian_source("libuv1", folder)
    build = source / "build-lastbyte"
    if not (build / "uv_run_tests").exists():
        quiet = {"stdout": subprocess.DEVNULL, "check": True}
        subprocess.run(["cmake", "-S", source, "-B", build, "-DBUILD_TESTING=ON", "-DLIBUV_BUILD_TESTS=ON"], **quiet)
        subprocess.run(["cmake", "--build", build, "--target", "uv_run_tests", "--parallel", "2"], **quiet)
    run = f"{build}/uv_run_tests"
    listed = subprocess.run([run, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return [(name, [run, name], build) for name in dict.fromkeys(listed) if LIBUV.match(name)]


def node(folder):
    source = debian_source("nodejs", folder) if not glob.glob(f"{folder}/node-*/") else Path(
        glob.glob(f"{folder}/node-*/")[0])
    tests = []
    for path in sorted(source.glob("test/parallel/test-net-*.js")):
        flags = re.search(r"^// Flags:(.*)$", path.read_text(errors="replace"), re.M)
        tests.append((path.stem, ["node", *(flags.group(1).split() if flags else []), str(path)], source))
    return tests


def twisted(folder):
    place = Path(folder, "venv")
    if not place.exists():
        subprocess.run(["python3", "-m", "venv", place], check=True, timeout=300)
        subprocess.run([place / "bin/pip", "install", "--quiet", "--only-binary", ":all:", "twisted",
                        "pyhamcrest", "hypothesis"], check=True, timeout=900)
    # A module is one test here: its status and the numbers of its last line are compared.
    return [(name, [str(place / "bin/trial"), name], Path(folder)) for name in TWISTED]


SUITES = {"libuv": libuv, "node": node, "twisted": twisted}


def once(prefix, command, where):
    """The exit status of one run, in a temporary folder, its whole group ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NODE_TEST_DIR": folder, "TMPDIR": folder}
        process = subprocess.Popen([*prefix, *command], cwd=folder if command[0].endswith("trial") else where,
                                   env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            output = process.communicate(timeout=TIME)[0]
            last = re.findall(rb"^(?:PASSED|FAILED) .*$", output, re.M)
            status = (process.returncode, last[-1].decode()) if last else process.returncode
        except subprocess.TimeoutExpired:
            output, status = b"it did not end", "hangs"
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        return status, output


def compare(job):
    """The results of one test: without and with the shim; more of them where they differ."""
    name, command, where, lastbyte = job
    shim = [lastbyte, "run", "--patience", "5s", "--"]
    plain, covered = [once([], command, where)], [once(shim, command, where)]
    if plain[0][0] != covered[0][0]:
        for _ in range(AGAIN):
            plain.append(once([], command, where))
            covered.append(once(shim, command, where))
    return name, [status for status, _ in plain], [status for status, _ in covered], covered[0][1][-1500:]


def run(suite, tests, lastbyte, workers):
    jobs = [(name, command, where, lastbyte) for name, command, where in tests]
    bad = 0
    passed = 0
    with ProcessPoolExecutor(workers, initializer=enter_network) as pool:
        for name, plain, covered, output in pool.map(compare, jobs):
            passed += plain[0] == 0 or isinstance(plain[0], tuple) and plain[0][0] == 0
            if plain[0] == covered[0]:
                continue
            unstable = len(set(plain)) > 1
            bad += not unstable and any(status != plain[0] for status in covered)
            note = "varies without the shim too" if unstable else "differs"
            print(f"  {note}: {name}: {plain} plain, {covered} under the shim")
            if not unstable:
                print("    " + output.decode(errors="replace").strip().replace("\n", "\n    "))
    print(f"{suite}: {len(jobs)} tests, {passed} pass without the shim, {bad} differ under it", flush=True)
    if passed * 2 < len(jobs):
        sys.exit(f"{suite}: most of its tests fail without us: this compares nothing")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lastbyte", default="target/debug/lastbyte")
    parser.add_argument("--sources", help="where the sources are kept")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("suites", nargs="*", metavar="SUITE", default=list(SUITES))
    options = parser.parse_args()
    lastbyte = os.path.abspath(options.lastbyte)
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.path.abspath(options.sources or temporary)
        prepared = {suite: SUITES[suite](folder) for suite in options.suites}
        # libuv's tests share names in the file system, so that they run one by one.
        bad = sum(run(suite, tests, lastbyte, 1 if suite == "libuv" else options.workers)
                  for suite, tests in prepared.items())
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
