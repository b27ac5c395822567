#!/usr/bin/env python3
"""Type-checks lastbyte for the systems that this machine is not.

std is built from source (a nightly toolchain with rust-src, or one that accepts its options by
RUSTC_BOOTSTRAP), so no target needs to be installed, and nothing is linked. What is checked:

    whole workspace    aarch64 and musl: all that Linux has, tests too
    library            32-bit Linux, FreeBSD, NetBSD, OpenBSD, macOS, and systems that lastbyte does
                       not know, where every call is unsupported

    scripts/cross.py [TARGET…]      without targets: all; --list prints them
"""

import argparse
import os
import subprocess
import sys

import lib

LINUX = ["lastbyte/tokio", "lastbyte/axum", "lastbyte/serde", "lastbyte/tracing", "lastbyte/stream"]
LIBRARY = ["tokio", "axum", "serde", "tracing", "stream"]
WORKSPACE = ["--workspace", "--exclude", "lastbyte-bench", "--exclude", "lastbyte-matrix", "--all-targets",
             "--features", ",".join(LINUX)]
LIBRARIES = ["-p", "lastbyte", "-p", "lastbyte-tcp", "--lib", "--features", "lastbyte/" + ",lastbyte/".join(LIBRARY)]
BARE = ["-p", "lastbyte", "--lib"]

TARGETS = {
    "aarch64-unknown-linux-gnu": WORKSPACE,
    "aarch64-unknown-linux-musl": WORKSPACE,
    "x86_64-unknown-linux-musl": WORKSPACE,
    "i686-unknown-linux-gnu": LIBRARIES,
    "armv7-unknown-linux-gnueabihf": LIBRARIES,
    "x86_64-unknown-freebsd": LIBRARIES,
    "x86_64-unknown-netbsd": LIBRARIES,
    "x86_64-unknown-openbsd": LIBRARIES,
    "aarch64-apple-darwin": LIBRARIES,
    # None of these is known: a Unix, and two that have no descriptors.
    "x86_64-unknown-illumos": BARE,
    "wasm32-wasip1": BARE,
    "wasm32-unknown-unknown": BARE,
}


def cargo():
    """cargo and an environment in which it takes unstable options."""
    nightly = ["cargo", "+nightly"]
    found = subprocess.run([*nightly, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if found.returncode == 0:
        return nightly, os.environ
    return ["cargo"], {**os.environ, "RUSTC_BOOTSTRAP": "1"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--list", action="store_true", help="print the targets and end")
    options = parser.parse_args()
    if options.list:
        print("\n".join(TARGETS))
        return
    unknown = [target for target in options.targets if target not in TARGETS]
    if unknown:
        sys.exit(f"there is no target {unknown[0]}; --list prints them")
    command, environment = cargo()
    environment = {**environment, "RUSTFLAGS": "-D warnings"}
    failed = []
    for target in options.targets or TARGETS:
        check = [*command, "check", "--quiet", "--target", target, "-Zbuild-std=std,panic_abort",
                 "--target-dir", str(lib.ROOT / "target" / "cross"), *TARGETS[target]]
        done = subprocess.run(check, cwd=lib.ROOT, env=environment)
        print(f"{target:<32} {'checked' if done.returncode == 0 else 'FAILED'}", flush=True)
        failed += [target] if done.returncode else []
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
