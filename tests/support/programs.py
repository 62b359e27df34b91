"""Short Python programs in processes of their own, for what two processes do to one another."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regtest.child import end_with_parent

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def program(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run it. It prints "ready" when it is, and goes on when it is written to; it ends with the block."""
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


def go_on(process: subprocess.Popen[str]) -> str:
    """Let it end; what it printed after "ready"."""
    printed, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    return printed
