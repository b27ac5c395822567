#!/usr/bin/env python3
"""Writes docs/systems.md: what plain close does with the contract's rows, system by system.

    scripts/systems.py            lwIP is run for its column (it needs liblwip-dev)
    scripts/systems.py --lwip FILE    what `cargo run … --example lwip -- --markdown` printed

Linux's column is that of docs/kernels.md, which scripts/kernels.py measures. What was read and not
run is in scripts/systems.toml.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARKS = {"kept": "✓", "not kept": "✗", "partly": "◐"}
UNKNOWN = "–"

HEAD = """# The contract across systems

Written by `scripts/systems.py`. What *plain close* (close(2), `closesocket`, `lwip_close`) does with each row of the
[contract](contract.md), on each system, and how that is known; then what lastbyte does there.

✓ kept · ✗ not kept · ◐ one part is kept, or only one part is known · – not known, or the system has no such thing.
Columns in *italics* were read in the sources or documents that are named below, and never run.
"""


def linux():
    """Per row of docs/kernels.md, what close(2) and lastbyte did on each kernel of amd64."""
    text = (ROOT / "docs/kernels.md").read_text()
    section = re.search(r"^## amd64\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    table = [line.strip("| ").split(" | ") for line in section[1].splitlines() if line.startswith("|")]
    kernels = table[0][1:]
    rows = {}
    for line in table[2:]:
        if re.fullmatch(r"[A-Z]\d", line[0]):
            rows[line[0]] = [tuple(cell.split(" → ")) for cell in line[1:]]
    return kernels, rows


def on_all(words):
    """One mark for what all kernels did alike; otherwise a mark for each."""
    marks = [MARKS.get(word, UNKNOWN) for word in words]
    return marks[0] if len(set(marks)) == 1 else " ".join(marks)


def lwip(path):
    """Per row, the mark and what was seen; and the version."""
    if path:
        text = path.read_text()
    else:
        command = ["cargo", "run", "-q", "-p", "lastbyte-lab", "--features", "lwip"]
        command += ["--example", "lwip", "--", "--markdown"]
        text = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = {row: (mark, saw) for row, mark, saw in re.findall(r"^\| (\w+) \| (\S+) (.*) \|$", text, re.M)}
    version = re.search(r"; lwIP (\S+)", text)
    if not rows or not version:
        sys.exit("systems.py: no rows of lwIP's")
    return rows, version[1]


def situations():
    """The rows' situations, as docs/contract.md has them, in its order."""
    text = (ROOT / "docs/contract.md").read_text()
    return dict(re.findall(r"^\| ([A-Z]\d) \| (.*?) \|", text, re.M))


def overview(ids, names, kernels, linux_rows, lwip_rows, systems):
    titles = [f"Linux {series(kernels[0])} to {series(kernels[-1])}", "lwIP"]
    titles += [f"*{system['title']}*" for system in systems]
    lines = [f"| | | {' | '.join(titles)} |", "|---|---|" + "---|" * len(titles)]
    for row in ids:
        cells = [on_all(plain for plain, _ in linux_rows[row]), lwip_rows.get(row, (UNKNOWN, ""))[0]]
        cells += [MARKS[s["rows"][row][0]] if row in s["rows"] else UNKNOWN for s in systems]
        lines.append(f"| {row} | {names[row]} | {' | '.join(cells)} |")
    return lines


def series(release):
    return ".".join(release.split(".")[:2])


def how_known(kernels, linux_rows, version, systems):
    kept = min(
        sum(sides[n][1] == "kept" for sides in linux_rows.values()) for n in range(len(kernels))
    )
    yield "| system | how it is known | lastbyte there |"
    yield "|---|---|---|"
    yield (
        f"| Linux | run: `scripts/kernels.py --table`, Debian's {', '.join(kernels)} in qemu, in [kernels.md](kernels.md) | "
        f"run: {kept} of {len(linux_rows)} rows, on each |"
    )
    yield (
        f"| lwIP {version} | run: `cargo run -p lastbyte-lab --features lwip --example lwip`, both ends in one process | "
        "none: lwIP is a subject of the lab |"
    )
    for system in systems:
        yield f"| {system['title']} | {system['known']} | {there(system)} |"
    yield (
        "| Wine 10 | run, its options and what the library does: `.ci/run --long windows`. Its `closesocket` is the "
        "close(2) of the system below it, so that it has no column | run: the tests that [windows.md](windows.md) names |"
    )
    yield "| any other | – | `sys/unsupported`: the library builds, and every call fails with `Unsupported` |"


def there(system):
    """What lastbyte does on a system that nobody ran it on."""
    if not system.get("bsd"):
        return system["lastbyte"]
    if (ROOT / "crates/lastbyte/src/sys/bsd").is_dir():
        return "`sys/bsd`: type-checked for it (`.ci/run --long cross`), never run"
    return "none: the library does not build for it"


def page(lwip_path):
    kernels, linux_rows = linux()
    lwip_rows, version = lwip(lwip_path)
    systems = tomllib.loads((ROOT / "scripts/systems.toml").read_text())["system"]
    names = situations()
    ids = [row for row in names if row in linux_rows]
    for system in systems:
        if strangers := set(system["rows"]) - set(ids):
            sys.exit(f"systems.py: {system['title']} has rows that nobody runs: {sorted(strangers)}")
    lines = [HEAD, "## Plain close", ""]
    lines += overview(ids, names, kernels, linux_rows, lwip_rows, systems)
    lines += ["", "## How it is known, and lastbyte there", ""]
    lines += how_known(kernels, linux_rows, version, systems)
    lines += ["", "## What was seen or read", "", f"### lwIP {version}, run", ""]
    lines += [f"- {row} {mark} {saw}" for row, (mark, saw) in lwip_rows.items()]
    for system in systems:
        lines += ["", f"### {system['title']}, read", ""]
        lines += [f"- {row} {MARKS[mark]} {text}" for row, (mark, text) in system["rows"].items()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lwip", type=Path, metavar="FILE")
    (ROOT / "docs/systems.md").write_text(page(parser.parse_args().lwip))


if __name__ == "__main__":
    main()
