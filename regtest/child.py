"""Free ports for child processes, and the end of a child process together with its parent."""

import ctypes
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

PR_SET_PDEATHSIG = 1  # prctl(2)


def free_ports(count: int) -> list[int]:
    """Return ports that no address of this machine uses, below the range that outgoing connections use."""
    ports: list[int] = []
    while len(ports) < count:
        port = 20_000 + secrets.randbelow(12_000)
        if port not in ports and _is_free(port):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    """Return whether a server may listen on all addresses. A connection to one would miss the others."""
    with socket.socket() as candidate:
        try:
            candidate.bind(("", port))
        except OSError:
            return False
    return True


def end_with_parent() -> Callable[[], None] | None:
    """Return a function for Popen's preexec_fn, or None on other systems than Linux.

    After it the kernel kills the child when the thread that started the child ends.
    """
    if not sys.platform.startswith("linux"):
        return None
    # libc is loaded before the fork, because few operations are safe after a fork.
    return partial(_kill_with, ctypes.CDLL(None), os.getpid())


def _kill_with(libc: ctypes.CDLL, parent: int) -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the parent ended before the call above
