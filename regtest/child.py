"""Servers that a demo or a test starts for itself: their ports, and that they end with it."""

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
    """Ports of 127.0.0.1 that nobody listens on, below those that outgoing connections are given."""
    ports: list[int] = []
    while len(ports) < count:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as candidate:
            if port not in ports and candidate.connect_ex(("127.0.0.1", port)) != 0:
                ports.append(port)
    return ports


def end_with_parent() -> Callable[[], None] | None:
    """For Popen's preexec_fn: the kernel kills the child once the thread that started it is gone."""
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here, before the fork: little is safe to do after it.
    return partial(_kill_with, ctypes.CDLL(None), os.getpid())


def _kill_with(libc: ctypes.CDLL, parent: int) -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it was gone before the call above
