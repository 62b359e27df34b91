"""The Node.js that Playwright brings."""

import subprocess
from pathlib import Path

import playwright

from regtest.fetch import fetched_root, loader_command
from tests.support.debian_program import CACHE

NODE = Path(playwright.__file__).parent / "driver" / "node"
LIBRARIES = "libatomic1 libstdc++6"
"""The libraries of Node.js that a small Debian may lack."""


def node_command() -> list[str]:
    """Return the command that runs Node.js. Fetch its libraries where the system lacks them."""
    if subprocess.run([NODE, "--version"], capture_output=True).returncode == 0:
        return [str(NODE)]
    return loader_command(fetched_root(LIBRARIES, CACHE / "libatomic1"), NODE)
