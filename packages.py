"""Print one sentence instead of a traceback if Python is too old or a package is missing.

The programs import this module before all others. The module also runs on an older Python.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

MIN_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"


def command_instead() -> str:
    """Return this command with the Python of .venv, or the command that makes .venv."""
    if not (ROOT / "Makefile").exists():
        return "apt install --reinstall nodetill"
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists() or ENVIRONMENT.resolve() == Path(sys.prefix).resolve():
        return f"make -C {shlex.quote(str(ROOT))} setup"
    return " ".join(map(shlex.quote, [str(python), str(ROOT / Path(sys.argv[0]).name), *sys.argv[1:]]))


def _print_sentence(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if isinstance(error, ModuleNotFoundError):
        sys.stderr.write(f"nodetill: this Python has no package {error.name}; run: {command_instead()}\n")
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _print_sentence
if sys.version_info < MIN_PYTHON:
    sys.exit(f"nodetill: Python 3.11 or later is needed; run: {command_instead()}")
