"""A process that imports run_daemon.py once, and forks a daemon for each line on its standard input.

A forked daemon does what `python run_daemon.py` does. It starts half a second sooner, since the imports are
done, and its waits are shorter.
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
    """Read an environment, a directory and a log file from each line, and write the child's process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then removes the children that have ended
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _run_daemon(order)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


def _run_daemon(order: dict[str, str | int | dict[str, str]]) -> None:
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
        _shorten_waits(int(str(order["blocks_kept"])))
        run_daemon.main()
    finally:
        # A child must not return into its parent's loop.
        if (kind := sys.exc_info()[0]) is not None:
            sys.excepthook(kind, *sys.exc_info()[1:])
        logs.drain()
        os._exit(1 if kind else 0)


def _shorten_waits(blocks_kept: int) -> None:
    mempool.DROP_GRACE = timedelta(seconds=0.3)
    loop.RETRY_SECONDS, vitals.FIRST_RETRY_SECONDS = 0.1, 0.05
    block.BLOCKS_KEPT = blocks_kept


if __name__ == "__main__":
    main()
