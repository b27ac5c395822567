"""What the checks share: an example built and running, and ended again."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(features):
    command = ["cargo", "build", "--quiet", "--release", "-p", "lastbyte", "--examples"]
    subprocess.run([*command, "--features", features], cwd=ROOT, check=True)


class Example:
    """An example that prints `listening on ADDR`, as a context."""

    def __init__(self, name, *arguments):
        program = ROOT / "target" / "release" / "examples" / name
        command = [program, "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"{name} does not listen: {line!r}")
        self.host, port = line.split()[-1].rsplit(":", 1)
        self.port = int(port)
        self.url = f"http://{self.host}:{port}/"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
