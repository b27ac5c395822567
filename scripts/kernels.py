#!/usr/bin/env python3
"""Boots Debian's kernels in qemu and runs the lab in each, and the library's tests.

    scripts/kernels.py                     every kernel of this machine's architecture
    scripts/kernels.py --kernel 6.1        one of them
    scripts/kernels.py --table             also writes docs/kernels.md
    scripts/kernels.py --arch arm64 --binary FILE    a static binary for that architecture

The binary is to be an optimised one: in a debug build two rows do not keep their time.

The guest has one CPU whose time follows the instructions (qemu's -icount), so that a
busy host makes no row late. Nothing is installed but what --work holds; the guest has
no network but its loopback. A kernel in which a row is not kept, or a test fails, is
named and makes the status 1.
"""

import argparse
import dataclasses
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERIES = ("5.10", "6.1", "6.12", "6.18", "newest")
# What the rows and the library ask of a kernel that Debian builds as modules, each
# after those that it needs.
MODULES = ("inet_diag", "tcp_diag", "mptcp_diag", "unix_diag", "veth", "sch_netem")
# Suites that have these kernels. A mirror's security archive is a sibling of it.
SUITES = (
    ("", "bookworm"),
    ("", "bookworm-backports"),
    ("", "trixie"),
    ("", "trixie-backports"),
    ("-security", "bullseye-security"),
    ("-security", "bookworm-security"),
    ("-security", "trixie-security"),
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
QEMU = {
    "amd64": ["qemu-system-x86_64", "-cpu", "max"],
    "arm64": ["qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"],
}
CONSOLE = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
# The kernel takes tcp_mem from the memory there is. With 1 GB it is 82 MB, which the filled connections of
# the library's tests exceed: under TCP's memory pressure send() takes less than a peer's window.
MEGABYTES = 4096
HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine)
# Programs of this machine that the library's tests start; a test that lacks one is ignored.
FOR_TESTS = ("unshare", "ss")


def fail(text):
    sys.exit(f"kernels.py: {text}")


def run(command, **options):
    return subprocess.run(command, check=True, **options)


# --- packages -------------------------------------------------------------------


class Packages:
    """Debian's packages through an apt of our own: its lists and files are below
    `folder`, and the system's are not touched."""

    def __init__(self, folder):
        self.folder = folder
        self.files = folder / "packages"
        for name in ("state/lists/partial", "cache/archives/partial", "packages"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "state/status").touch()
        (folder / "sources.list").write_text(
            "".join(
                f"deb [signed-by={KEYRING}] {mirror()}{archive} {suite} main\n"
                for archive, suite in SUITES
            )
        )
        (folder / "apt.conf").write_text(
            f'Dir::Etc::sourcelist "{folder}/sources.list";\n'
            'Dir::Etc::sourceparts "/dev/null";\n'
            f'Dir::State "{folder}/state";\n'
            f'Dir::State::status "{folder}/state/status";\n'
            f'Dir::Cache "{folder}/cache";\n'
            'APT::Architectures { "amd64"; "arm64"; };\n'
            'APT::Sandbox::User "root";\n'
            'Acquire::Languages "none";\n'
        )
        self.environment = os.environ | {"APT_CONFIG": str(folder / "apt.conf")}

    def refresh(self):
        lists = self.folder / "lists-are-of"
        if not lists.exists() or time.time() - lists.stat().st_mtime > 86400:
            run(["apt-get", "update", "-qq"], env=self.environment)
            lists.touch()

    def names(self, pattern):
        found = run(
            ["apt-cache", "search", "-n", pattern],
            env=self.environment, capture_output=True, text=True,
        ).stdout
        return sorted({line.split()[0] for line in found.splitlines()}, key=version)

    def file(self, package, architecture):
        """The path of the package's file, downloaded if it is not there."""
        kept = sorted(self.files.glob(f"{package}_*_{architecture}.deb"))
        if not kept:
            command = ["apt-get", "download", "-qq", f"{package}:{architecture}"]
            run(command, env=self.environment, cwd=self.files)
            kept = sorted(self.files.glob(f"{package}_*_{architecture}.deb"))
        return kept[-1]


def version(name):
    return [int(part) for part in re.findall(r"\d+", name)]


def mirror():
    """The Debian mirror that the system's own apt uses."""
    for path in sorted(Path("/etc/apt").glob("sources.list*/*")) + [Path("/etc/apt/sources.list")]:
        if path.is_file():
            for word in path.read_text(errors="replace").split():
                if re.fullmatch(r"https?://\S+/debian/?", word):
                    return word.rstrip("/")
    fail("no Debian mirror in /etc/apt: this needs the packages of Debian's kernels")


# --- kernels --------------------------------------------------------------------


@dataclasses.dataclass
class Kernel:
    series: str
    release: str
    image: Path
    modules: list


def kernel(packages, series, architecture):
    """The newest kernel of the series that can be had, unpacked as far as needed."""
    number = r"[0-9]+\.[0-9]+" if series == "newest" else re.escape(series)
    names = packages.names(rf"^linux-image-{number}\.[0-9].*-{architecture}$")
    plain = [n for n in names if not re.search(r"-(rt|cloud|dbg|unsigned)|-16k", n)]
    if not plain:
        fail(f"no kernel {series} for {architecture} among Debian's packages")
    # A list may name a file that its mirror has no more: then the one before it.
    for name in reversed(plain[-4:]):
        release = name.removeprefix("linux-image-")
        parts = [name]
        if packages.names(f"^linux-binary-{re.escape(release)}$"):
            parts = [f"linux-binary-{release}", f"linux-modules-{release}"]
        try:
            files = [packages.file(part, architecture) for part in parts]
        except subprocess.CalledProcessError:
            continue
        return unpack(packages.folder / "kernels" / release, series, release, files)
    fail(f"none of {', '.join(plain[-4:])} could be downloaded")


def unpack(folder, series, release, files):
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        wanted = ["*/vmlinuz*"] + [f"*/{module}.ko*" for module in MODULES]
        for file in files:
            archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE)
            # A package without one of the names is no error.
            subprocess.run(
                ["tar", "-x", "-C", folder, "--wildcards", *wanted],
                stdin=archive.stdout, stderr=subprocess.DEVNULL, check=False,
            )
            archive.stdout.close()
            archive.wait()
        (folder / "complete").touch()
    images = sorted(folder.rglob("vmlinuz*"))
    if not images:
        fail(f"no image in the packages of {release}")
    modules = []
    for name in MODULES:
        modules += [(name, path) for path in folder.rglob(f"{name}.ko*")][:1]
    return Kernel(series, release, images[0], modules)


def plain_module(path):
    if path.suffix == ".xz":
        return run(["xz", "-dc", path], capture_output=True).stdout
    if path.suffix == ".zst":
        return run(["zstd", "-dcq", path], capture_output=True).stdout
    return path.read_bytes()


# --- the guest ------------------------------------------------------------------


INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts pts /dev/pts; mount -t tmpfs tmp /dev/shm
mount -t tracefs trace /sys/kernel/tracing
for module in $(cat /modules/order); do insmod /modules/$module.ko; done 2>/dev/null
ip link set lo up; ulimit -n 8192
export HOME=/tmp PATH=/bin COLUMNS=200
echo "@@ kernel $(uname -r) $(uname -m)"
step() {
    name=$1; shift
    echo "@@ begin $name"
    "$@" 2>/tmp/errors
    status=$?
    echo
    echo "@@ end $name $status"
    [ $status = 0 ] || sed 's/^/@@ error /' /tmp/errors | tail -n 20
}
step lab lastbyte lab --json
step sources lastbyte watch --sources
for test in /tests/*; do
    # The console is a terminal: without this the results' lines have colours in them.
    [ -x "$test" ] && step "test:${test##*/}" "$test" --test-threads=4 --color=never
done
echo "@@ done"
poweroff -f
"""
APPLETS = "sh mount mkdir insmod ip cat echo poweroff uname sed tail sleep true false kill id".split()


class Archive:
    """A cpio archive in the format `newc` that the kernel unpacks as its root
    (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self):
        self.out = io.BytesIO()
        self.known = set()
        self.inode = 0

    def add(self, name, data=b"", mode=0o100755):
        name = name.lstrip("/")
        if name in self.known:
            return
        self.known.add(name)
        parent = os.path.dirname(name)
        if parent:
            self.add(parent, mode=0o040755)
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        self.out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + encoded)
        self.pad()
        self.out.write(data)
        self.pad()

    def pad(self):
        self.out.write(bytes(-self.out.tell() % 4))

    def program(self, name, path):
        """A program, and the shared objects that it is linked with."""
        self.add(name, stripped(path))
        linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        for line in linked.splitlines():
            found = re.search(r"(/\S+) \(0x", line)
            if found:
                self.add(found[1], Path(found[1]).read_bytes())

    def written(self, path):
        self.add("TRAILER!!!", mode=0)
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(self.out.getbuffer())


def stripped(path):
    """The program without what only a debugger reads, which a small guest has no room for."""
    with tempfile.NamedTemporaryFile() as file:
        done = subprocess.run(
            ["strip", "--strip-debug", "-o", file.name, path], stderr=subprocess.DEVNULL, check=False
        )
        # The strip of this machine may not know the other architecture.
        return Path(path if done.returncode else file.name).read_bytes()


def root_of(kernel, packages, architecture, binary, tests):
    archive = Archive()
    for folder in ("dev", "proc", "sys", "tmp", "tests", "etc"):
        archive.add(folder, mode=0o040755)
    archive.add("init", INIT.encode())
    archive.add("bin/busybox", busybox(packages, architecture))
    for applet in APPLETS:
        archive.add(f"bin/{applet}", b"busybox", mode=0o120777)
    for name, path in kernel.modules:
        archive.add(f"modules/{name}.ko", plain_module(path), mode=0o100644)
    order = " ".join(name for name, _ in kernel.modules)
    archive.add("modules/order", order.encode(), mode=0o100644)
    archive.program("bin/lastbyte", binary)
    for name in FOR_TESTS if tests and architecture == HOST else ():
        if found := shutil.which(name):
            archive.program(f"bin/{name}", found)
    for test in tests:
        # Cargo's hash at the end of the name says nothing to a reader.
        archive.program(f"tests/{re.sub('-[0-9a-f]{16}$', '', test.name)}", test)
    return archive


def busybox(packages, architecture):
    file = packages.file("busybox-static", architecture)
    with tempfile.TemporaryDirectory() as folder:
        run(["dpkg-deb", "-x", file, folder])
        return next(Path(folder).rglob("bin/busybox")).read_bytes()


def boot(kernel, architecture, archive, folder, limit):
    """What the guest printed."""
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / f"{kernel.release}.cpio.gz"
    archive.written(root)
    log = folder / f"{kernel.release}.log"
    arguments = f"console={CONSOLE[architecture]} quiet loglevel=1 panic=-1 rdinit=/init mitigations=off"
    command = [
        *QEMU[architecture], "-accel", "tcg", "-icount", "shift=1,sleep=off", "-smp", "1",
        "-m", str(MEGABYTES), "-nographic", "-no-reboot", "-nic", "none",
        "-kernel", kernel.image, "-initrd", root, "-append", arguments,
    ]
    with log.open("wb") as out:
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                timeout=limit, check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"{kernel.release}: not at its end after {limit} s", file=sys.stderr)
    root.unlink()
    return log.read_text(errors="replace").replace("\r", "")


# --- what came of it ------------------------------------------------------------


@dataclasses.dataclass
class Outcome:
    kernel: Kernel
    seconds: float
    ended: bool = False
    lab: dict | None = None
    sources: str = ""
    # Passed, failed (None: it came to no end) and ignored, by the test program's name.
    tests: dict = dataclasses.field(default_factory=dict)
    failures: list = dataclasses.field(default_factory=list)
    errors: list = dataclasses.field(default_factory=list)

    def tested(self):
        if not self.tests:
            return "no tests run"
        sums = [sum(count or 0 for count in column) for column in zip(*self.tests.values())]
        no_end = sum(failed is None for _, failed, _ in self.tests.values())
        text = f"{sums[0]} tests passed, {sums[1]} failed, {sums[2]} ignored"
        return text + (f", {no_end} programs came to no end" if no_end else "")

    def faults(self):
        if not self.ended:
            yield "the guest did not come to its end"
        if self.lab is None:
            yield "the lab printed nothing"
        else:
            for row in self.lab["rows"]:
                if not (row.get("lastbyte") or {}).get("kept"):
                    yield f"{row['id']}: {(row.get('lastbyte') or {}).get('saw', 'not run')}"
        for name, (passed, failed, _) in self.tests.items():
            if failed != 0:
                yield f"{name}: {passed} passed, {'no end' if failed is None else failed} failed"


def read(kernel, text, seconds):
    outcome = Outcome(kernel, seconds, ended="@@ done" in text)
    outcome.errors = re.findall(r"^@@ error (.*)$", text, re.M)
    for name, body, status in re.findall(
        r"^@@ begin (\S+)\n(.*?)^@@ end \1 (\d+)$", text, re.M | re.S
    ):
        if name == "lab":
            lines = [line for line in body.splitlines() if line.startswith("{")]
            outcome.lab = json.loads(lines[-1]) if lines else None
        elif name == "sources":
            outcome.sources = body.strip()
        else:
            program = name.removeprefix("test:")
            outcome.tests[program] = counted(body, status)
            outcome.failures += [
                f"{program}: {line}"
                for line in re.findall(r"^test .* FAILED$|^.*panicked at .*\n.*$", body, re.M)
            ]
    return outcome


def counted(body, status):
    """What a test program printed of its results: passed, failed, ignored."""
    counts = re.search(
        r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", body
    )
    passed, failed, ignored = (int(count) for count in counts.groups()) if counts else (0, None, 0)
    # A program that ended with an error, and counts no failure, did not run all of its tests.
    return passed, failed if status == "0" or failed else None, ignored


def report(outcome):
    lab = outcome.lab["kept"] if outcome.lab else None
    kept = f"lab: lastbyte {lab['lastbyte']}, close(2) {lab['kernel']} of {lab['rows']}" if lab else "no lab"
    print(f"{outcome.kernel.release}: {kept}; {outcome.tested()}; {outcome.seconds:.0f} s", flush=True)
    faults = list(outcome.faults())
    for fault in faults:
        print(f"    {fault}")
    if faults:
        for line in outcome.failures:
            print(f"    {line}")
        for line in outcome.errors[-10:]:
            print(f"    stderr: {line}")
    return not faults


def table(outcomes, architecture):
    """A Markdown table: a line a row of the contract, a column a kernel."""
    labs = [outcome for outcome in outcomes if outcome.lab]
    head = " | ".join(outcome.kernel.release for outcome in labs)
    lines = [f"## {architecture}", "", f"| row | {head} |", "|---|" + "---|" * len(labs)]
    ids = [row["id"] for row in labs[0].lab["rows"]] if labs else []
    for row in ids:
        cells = []
        for outcome in labs:
            found = next((r for r in outcome.lab["rows"] if r["id"] == row), {})
            cells.append(f"{word(found.get('kernel'))} → {word(found.get('lastbyte'))}")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    sums = (f"{o.lab['kept']['kernel']} → {o.lab['kept']['lastbyte']}" for o in labs)
    lines.append("| **kept** | " + " | ".join(sums) + " |")
    lines.append("| **library's tests** | " + " | ".join(o.tested() for o in labs) + " |")
    for outcome in labs:
        lines += ["", f"`lastbyte watch --sources` on {outcome.kernel.release}:", "```"]
        lines += [*outcome.sources.splitlines(), "```"]
    return "\n".join(lines) + "\n"


def word(side):
    if not side or side.get("kept") is None:
        return "not run"
    return "kept" if side["kept"] else "not kept"


# --- the command ----------------------------------------------------------------


def built_tests():
    """The test programs of the library, as cargo built them."""
    command = ["cargo", "test", "-p", "lastbyte", "--tests", "--no-run", "--message-format=json"]
    out = run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    messages = (json.loads(line) for line in out.splitlines() if line.startswith("{"))
    return [
        Path(m["executable"]) for m in messages if m.get("executable") and m["profile"]["test"]
    ]


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", choices=QEMU, default=HOST)
    parser.add_argument("--kernel", default=",".join(SERIES), help="series, with commas (default: %(default)s)")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/lastbyte", help="default: %(default)s")
    parser.add_argument("--tests", action="store_true", help="also run the library's tests (of this architecture)")
    parser.add_argument("--test-binaries", type=Path, help="a folder of test programs to run instead")
    parser.add_argument("--table", type=Path, nargs="?", const=ROOT / "docs/kernels.md", help="write this file (default: %(const)s)")
    parser.add_argument("--work", type=Path, default=ROOT / "target/kernels", help="packages, kernels and logs (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=900, help="seconds for one guest")
    return parser.parse_args()


def main():
    given = arguments()
    if given.arch is None:
        fail("this machine's architecture has no kernel here: give --arch")
    if not shutil.which(QEMU[given.arch][0]):
        fail(f"{QEMU[given.arch][0]} is not installed")
    if not given.binary.is_file():
        fail(f"{given.binary} is not there: cargo build --release -p lastbyte-cli")
    tests = built_tests() if given.tests else []
    if given.test_binaries:
        tests = sorted(p for p in given.test_binaries.iterdir() if os.access(p, os.X_OK))
    packages = Packages(given.work.resolve())
    packages.refresh()
    outcomes = []
    for series in given.kernel.split(","):
        found = kernel(packages, series, given.arch)
        archive = root_of(found, packages, given.arch, given.binary, tests)
        began = time.monotonic()
        text = boot(found, given.arch, archive, packages.folder / "logs", given.limit)
        outcomes.append(read(found, text, time.monotonic() - began))
        if not report(outcomes[-1]):
            print(f"    log: {packages.folder / 'logs' / found.release}.log")
    if given.table:
        given.table.write_text(page(given.table, outcomes, given.arch))
    return any(any(outcome.faults()) for outcome in outcomes)


def page(path, outcomes, architecture):
    """The file with this architecture's part put anew; the others' stay."""
    parts = re.split(r"^(?=## )", path.read_text(), flags=re.M)[1:] if path.exists() else []
    kept = {part.split()[1]: part for part in parts}
    kept[architecture] = table(outcomes, architecture)
    head = (
        "# The contract's rows, kernel by kernel\n\n"
        "Written by `scripts/kernels.py --table`. Each cell says what plain close(2) did and,\n"
        "behind the arrow, what lastbyte did. The guests are Debian's kernels in qemu.\n\n"
    )
    return head + "\n".join(kept[name].rstrip() + "\n" for name in sorted(kept))


if __name__ == "__main__":
    sys.exit(main())
