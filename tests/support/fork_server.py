"""Start a server or manage.py as a fork of a process that has done the imports.

A fork does what `python SCRIPT` does. It starts half a second sooner, because the imports are done.
"""

import ctypes
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import logs
from regtest.child import PR_SET_PDEATHSIG
from regtest.node import PROJECT

_libc = ctypes.CDLL(None)
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__, "run_daemon", "run_web", "manage"])


class ForkedChild:
    """A forked process, with the members of `regtest.process.Child`."""

    def __init__(self, run: Callable[..., None], *arguments: object) -> None:
        # A daemonic process ends with this one.
        self._process = _context.Process(target=run, args=arguments, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status, negative after a signal, or None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status. Raise subprocess.TimeoutExpired after `timeout` seconds."""
        self._process.join(timeout)
        if (status := self._process.exitcode) is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(str(self._process), timeout)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork_python(
    script: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    directory: Path,
    output: IO[bytes],
    errors: IO[bytes],
    prepare: Callable[[], None] | None = None,
) -> ForkedChild:
    """Start `script`, as `regtest.process.start_python` does. The streams are named files.

    The child calls `prepare` before it runs the script.
    """
    return ForkedChild(
        _run, script, list(arguments), dict(environ), str(directory), output.name, errors.name, prepare
    )


def run_python(
    script: str, directory: Path, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run `script` with this environment alone to its end, and return its exit status and texts."""
    with tempfile.NamedTemporaryFile() as output, tempfile.NamedTemporaryFile() as errors:
        status = fork_python(script, arguments, environ, directory, output, errors).wait(60)
        return subprocess.CompletedProcess(
            [script, *arguments], status, output.read().decode(), errors.read().decode()
        )


def _run(
    script: str,
    arguments: list[str],
    environ: dict[str, str],
    directory: str,
    output: str,
    errors: str,
    prepare: Callable[[], None] | None,
) -> None:
    """Run a script in this process, and exit with its status."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    _open_streams(output, errors)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = [str(PROJECT / script), *arguments]
    if prepare is not None:
        prepare()
    try:
        status = importlib.import_module(Path(script).stem).main()
    finally:
        if (kind := sys.exc_info()[0]) is not None and not issubclass(kind, SystemExit):
            sys.excepthook(kind, *sys.exc_info()[1:])
        logs.drain()
    sys.exit(status)


def _open_streams(output: str, errors: str) -> None:
    for name, target in ((os.devnull, 0), (output, 1), (errors, 2)):
        opened = os.open(name, os.O_RDWR | os.O_APPEND)
        os.dup2(opened, target)
        os.close(opened)
    # Without a line buffer, an error would come after the lines that follow it.
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", 1, closefd=False)
