"""Checks of the secrets: may other users read the database or secret files, and is the password long?"""

import shlex
import stat
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from admin.doctor.findings import Finding, advice, ok
from config import Settings
from config.file_permissions import may_others_read, may_others_write
from config.reader import origins
from models.db.files import is_shared

MIN_PASSWORD_LENGTH = 15
"""NIST SP 800-63B 3.1.1.2, for a password without a second factor."""


def files_finding(settings: Settings, environ: Mapping[str, str], directory: Path) -> Finding:
    """Return whether other users can read or write the database or a secret file."""
    modes = {path: _mode_to_remove(path) for path in _secret_paths(settings, environ, directory)}
    exposed = {path: mode for path, mode in modes.items() if mode}
    if not exposed:
        return ok("files", "other users can read neither the database nor a file with a password")
    names = ", ".join(map(str, exposed))
    cures = " && ".join(f"chmod {mode} {shlex.quote(str(path))}" for path, mode in exposed.items())
    return advice("files", f"other users can read or write {names}: {cures}")


def password_finding(settings: Settings) -> Finding:
    """Return whether there is a password for the operator's page, and whether it is long enough."""
    password = settings.operator_password
    cure = f"set one of at least {MIN_PASSWORD_LENGTH} characters, such as five random words"
    if password is None:
        return advice("password", f"OPERATOR_PASSWORD is unset, so the operator's page is off: {cure}")
    if len(password.reveal()) < MIN_PASSWORD_LENGTH:
        return advice("password", f"OPERATOR_PASSWORD is short enough to be guessed: {cure}")
    return ok("password", f"OPERATOR_PASSWORD has at least {MIN_PASSWORD_LENGTH} characters")


def _secret_paths(settings: Settings, environ: Mapping[str, str], directory: Path) -> Iterator[Path]:
    url = settings.database_url.reveal()
    if url.startswith("sqlite:"):
        database = directory / url.removeprefix("sqlite:///")
        yield from (database.parent, database)
        yield from (database.with_name(database.name + suffix) for suffix in ("-wal", "-shm"))
    hidden = [row for row in fields(Settings) if row.metadata["hidden"]]
    for origin in origins(hidden, environ, directory).values():
        if origin.path is not None:
            yield directory / origin.path


def _mode_to_remove(path: Path) -> str:
    """Return the mode for chmod that keeps other users out, or nothing where they are out.

    Both servers write the database by the group of a shared directory, so that group keeps its rights.
    """
    try:
        if is_shared(path if path.is_dir() else path.parent):
            return "o-rwx" if path.stat().st_mode & stat.S_IRWXO else ""
        return "o-rwx,g-w" if may_others_read(path) or may_others_write(path) else ""
    except OSError:
        return ""
