"""Gives birth to daemons: a process that has imported run_daemon.py, and forks one for each line it reads.

What is born is what `python run_daemon.py` would be, but for half a second of imports, and in a hurry: it
waits for less long where it only waits to be sure.
"""

import ctypes
import json
import os
import signal
import sys
from datetime import timedelta

import logs
import run_daemon
from daemon import health as vitals
from daemon import loop
from daemon.chain import mempool
from models import block
from regtest.child import PR_SET_PDEATHSIG

_libc = ctypes.CDLL(None)


def main() -> None:
    """A line has the environment, the directory and the log file; the answer is the child's process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to be waited for
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


def _become(order: dict[str, str | int | dict[str, str]]) -> None:
    try:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for place, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(place, target)
        os.chdir(str(order["directory"]))
        os.environ.clear()
        assert isinstance(order["environ"], dict)
        os.environ.update(order["environ"])
        _hurry(int(str(order["blocks_kept"])))
        run_daemon.main()
    finally:
        # A child must not return into its parent's loop.
        if (kind := sys.exc_info()[0]) is not None:
            sys.excepthook(kind, *sys.exc_info()[1:])
        logs.drain()
        os._exit(1 if kind else 0)


def _hurry(blocks_kept: int) -> None:
    mempool.DROP_GRACE = timedelta(seconds=0.3)
    loop.RETRY_SECONDS, vitals.FIRST_RETRY_SECONDS = 0.1, 0.05
    block.BLOCKS_KEPT = blocks_kept


if __name__ == "__main__":
    main()
