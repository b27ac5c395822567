#!/usr/bin/env python3
"""What the shim's own code calls, read from its machine code.

The shim runs in signal handlers and vforked children, so none of its functions may
reach an allocator, a lock, thread-local storage or a panic. This disassembles the
release build and follows every call from the functions that programs find.

    scripts/check-shim.py [target/release/deps/liblastbyte_run_shim.so]   (needs objdump)
"""

import collections
import re
import subprocess
import sys

# Through dlsym: what real_libc.rs forwards to. The others are async-signal-safe, or are
# called where the program called a function that is not (fclose, exec's search).
ALLOWED = {"__errno_location", "dlsym", "memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen",
           "fflush", "fileno", "getenv", "__register_atfork"}
FORBIDDEN = re.compile(r"panic|alloc|malloc|calloc|free$|pthread|__tls_get_addr|unwrap_failed|_Unwind|std::")


def main():
    library = sys.argv[1] if len(sys.argv) > 1 else "target/release/deps/liblastbyte_run_shim.so"
    text = subprocess.run(["objdump", "-dC", "--no-show-raw-insn", library], capture_output=True, text=True,
                          check=True).stdout
    exported = {line.split()[-1].split("@")[0] for line in subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout.splitlines()}
    relocations = subprocess.run(["objdump", "-RC", library], capture_output=True, text=True, check=True).stdout
    slots = dict(re.findall(r"^([0-9a-f]+) \S+ +([^\s@+]+)", relocations, re.M))
    slots = {int(address, 16): name for address, name in slots.items()}
    # A name that begins no code is the nearest symbol before some constant.
    code = set(re.findall(r"^[0-9a-f]+ <(.*)>:$", text, re.M)) | set(slots.values())
    calls, current = collections.defaultdict(set), None
    for line in text.splitlines():
        head = re.match(r"^[0-9a-f]+ <(.*)>:$", line)
        if head:
            current = head.group(1)
            continue
        jump = re.search(r"\t(?:call|jmp|j[a-z]+|lea) .*?([0-9a-f]+) <(.*)>$", line)
        if not jump or not current:
            continue
        through = re.search(r"# ([0-9a-f]+) <", line)
        target = jump.group(2).split("+0x")[0].removesuffix("@plt")
        if through and int(through.group(1), 16) in slots:
            target = slots[int(through.group(1), 16)]
        if target != current and target in code:
            calls[current].add(target)
    roots = exported & calls.keys() | {name for name in calls if name.startswith("lastbyte_run_shim::")}
    if len(roots) < 40:
        sys.exit(f"only {len(roots)} of the shim's functions found in {library}")
    seen, queue, bad = set(roots), [(root, (root,)) for root in sorted(roots)], []
    while queue:
        name, path = queue.pop()
        for target in sorted(calls[name]):
            if FORBIDDEN.search(target) and target not in ALLOWED and not target.startswith("lastbyte_"):
                bad.append(" -> ".join((*path, target)))
            elif target not in seen:
                seen.add(target)
                queue.append((target, (*path, target)))
    print(f"{len(roots)} functions, {len(seen)} reachable; foreign: "
          + ", ".join(sorted(name for name in seen if name in ALLOWED)))
    for path in bad:
        print(f"must not be reachable: {path}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
