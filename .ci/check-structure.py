#!/usr/bin/env python3
"""No circle of imports between modules, and no file over 500 lines, but for those listed here.

How long a function may be is in clippy.toml. A module and the modules inside it
may name each other: a parent declares and re-exports its children, a child uses its parent's
types. Every other circle is a fault. An arrow that the language or clap forces is listed
with its reason, and not followed.

    .ci/check-structure.py [--list]     --list prints the forced arrows and every long file, too
    .ci/check-structure.py --arrows CRATE     prints which modules each module of a crate uses
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES = 500

# One arrow of a circle that the language or clap forces: module, what it uses, and why.
# Without these arrows there must be no circle.
FORCED = {
    ("lastbyte", "error", "closing"):
        "CloseError::into_closing gives a Closing, and a Closing's methods return a CloseError",
}
# Files below a crate's folder, and why they stay in one piece.
LONG = {
    "src/ending/explore/net.rs": "the model of the network that explore.rs tries",
    "src/explain/words.rs": "a table",
    "src/judge/tests.rs": "a test for each piece of evidence",
    "src/destroyed.rs": "one notice, with its captured bytes",
    "src/info.rs": "one structure of the kernel, field by field",
}


def source(path):
    """The text without comments, strings and what is compiled for tests alone."""
    text = path.read_text()
    text = re.sub(r'//[^\n]*|/\*.*?\*/|r(#*)".*?"\1|"(?:\\.|[^"\\])*"', "", text, flags=re.S)
    return re.sub(r"#\[cfg\((?:test|all\(test[^]]*)\)\]\s*mod \w+ \{.*?\n\}\n", "", text, flags=re.S)


def modules(crate):
    """Each module's path, such as ("closer", "engine"), and its file. Files of tests are left out."""
    found = {}
    for path in sorted((crate / "src").rglob("*.rs")):
        parts = path.relative_to(crate / "src").with_suffix("").parts
        if "bin" in parts or "tests" in parts:
            continue
        if parts[-1] in ("mod", "lib", "main"):
            parts = parts[:-1]
        found[parts] = path
    return found


def leaves(tree):
    """Every path of a use tree: a::{b, c::d} gives a::b and a::c::d."""
    tree = tree.strip()
    if "{" not in tree:
        yield tree.split(" as ")[0].strip()
        return
    head, rest = tree.split("{", 1)
    rest, depth, start = rest[: rest.rindex("}")], 0, 0
    for at, char in enumerate(rest + ","):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            if rest[start:at].strip():
                yield from (head.strip() + leaf for leaf in leaves(rest[start:at]))
            start = at + 1


def absolute(path, module):
    """The path's parts from the crate's root, or None for another crate's."""
    parts = [part.strip() for part in path.split("::")]
    if parts[0] == "crate":
        return tuple(parts[1:])
    base = list(module)
    if parts[0] == "self":
        return tuple(base + parts[1:])
    if parts[0] != "super":
        return None
    while parts and parts[0] == "super":
        parts.pop(0)
        base = base[:-1]
    return tuple(base + parts)


def paths(text):
    for tree in re.findall(r"\buse\s+([^;]+);", text):
        yield from leaves(re.sub(r"\s+", " ", tree))
    rest = re.sub(r"\buse\s+[^;]+;", "", text)
    yield from re.findall(r"\b(?:crate|super)(?:::\w+)+", rest)


def edges(found):
    """Which module names what is in which other, re-exports followed to where the thing is."""
    exports = defaultdict(dict)
    texts = {module: source(path) for module, path in found.items()}
    for module, text in texts.items():
        for tree in re.findall(r"\buse\s+([^;]+);", text):
            for leaf in leaves(re.sub(r"\s+", " ", tree)):
                parts = leaf.split("::")
                inner = tuple(module) + tuple(parts[1:] if parts[0] == "self" else parts)
                if inner[: len(module) + 1] in found:
                    exports[module][parts[-1]] = inner
    graph = defaultdict(set)
    for module, text in texts.items():
        for path in paths(text):
            target = absolute(path, module)
            for _ in range(5):
                if target is None:
                    break
                length = max((n for n in range(len(target) + 1) if target[:n] in found), default=0)
                inside, rest = target[:length], target[length:]
                following = exports[inside].get(rest[0]) if rest else None
                if not following or following == target:
                    break
                target = following + rest[1:]
            if target is None:
                continue
            length = max((n for n in range(len(target) + 1) if target[:n] in found), default=0)
            inside = target[:length]
            related = inside[: len(module)] == module or module[: len(inside)] == inside
            if not related:
                graph[module].add(inside)
    return graph


def circles(graph):
    """The strongly connected components of more than one module (Tarjan's algorithm)."""
    index, low, stack, out = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                out.append(tuple(sorted("::".join(part) for part in component)))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return out


def main():
    sys.setrecursionlimit(10_000)
    if sys.argv[1:2] == ["--arrows"]:
        for module, used in sorted(edges(modules(ROOT / "crates" / sys.argv[2])).items()):
            if used:
                print(f"{'::'.join(module) or 'lib'} -> {', '.join(sorted('::'.join(name) for name in used))}")
        return
    found_circles, found_long = {}, {}
    for crate in sorted((ROOT / "crates").iterdir()):
        if not (crate / "src").is_dir():
            continue
        graph = edges(modules(crate))
        for name, module, used in FORCED:
            if name == crate.name:
                graph[tuple(module.split("::"))].discard(tuple(used.split("::")))
        for circle in circles(graph):
            inner = {tuple(name.split("::")): sorted("::".join(to) for to in graph[tuple(name.split("::"))]
                                                     if "::".join(to) in circle) for name in circle}
            found_circles[(crate.name, *circle)] = inner
        for path in sorted(crate.rglob("*.rs")):
            if "target" in path.parts:
                continue
            lines = len(path.read_text().splitlines())
            if lines > LINES:
                found_long[str(path.relative_to(ROOT))] = lines
    faults = 0
    for circle, inner in found_circles.items():
        print(f"circle: {circle[0]}: {' '.join(circle[1:])}")
        for module, others in inner.items():
            print(f"    {'::'.join(module)} uses {', '.join(others)}")
        faults += 1
    for path, lines in found_long.items():
        known = path.split("/", 2)[2] in LONG
        if "--list" in sys.argv or not known:
            print(f"{path}: {lines} lines")
            faults += not known
    if "--list" in sys.argv:
        for (crate, module, used), why in FORCED.items():
            print(f"forced: {crate}: {module} uses {used}: {why}")
    print(f"{len(found_circles)} circles of modules beside {len(FORCED)} forced arrows, {len(found_long)} files over {LINES} lines, {faults} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
