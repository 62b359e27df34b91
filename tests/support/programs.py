"""Short Python programs in processes of their own, for tests with two processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regtest.child import end_with_parent

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def run_program(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `source` inside the `with` block.

    It prints "ready", and continues after a line on its standard input.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=end_with_parent(),
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str]) -> str:
    """Let the program continue to its end, and return its output after "ready"."""
    printed, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    return printed
