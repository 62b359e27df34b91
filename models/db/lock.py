"""Locks on a database that one process at a time can hold. A lock always ends with its process."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import peewee
import psycopg

from models.db.connection import database, file_identity
from models.db.files import open_private

_ADVISORY_KEYS = {"migrate": 0x6E6F646501, "daemon": 0x6E6F646502}


class FileLock:
    """A lock on a file beside a SQLite database. Two paths to the same database use the same lock."""

    def __init__(self, name: str) -> None:
        self._path = Path(f"{Path(database.obj.database).resolve()}.{name}.lock")
        self._descriptor: int | None = None
        self._locked_file: tuple[int, int] | None = None

    def acquire(self, *, wait: bool = False) -> bool:
        """Acquire the lock. Without `wait`, return False at once if another process has the lock."""
        if self._descriptor is not None:
            return True
        locked_file = file_identity()
        if locked_file is None:
            raise peewee.OperationalError(f"the file {database.obj.database} is gone")
        try:
            descriptor = open_private(self._path)
        except OSError as error:
            # Another user may have made the file, such as root by manage.py.
            raise peewee.OperationalError(f"cannot open {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor, self._locked_file = descriptor, locked_file
        return True

    def is_held(self) -> bool:
        """Return whether this process has the lock of the file that is now at the database's path."""
        return self._descriptor is not None and file_identity() == self._locked_file

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class AdvisoryLock:
    """PostgreSQL's session-level advisory lock, on a connection of its own."""

    def __init__(self, name: str) -> None:
        self._key = _ADVISORY_KEYS[name]
        self._connection: psycopg.Connection | None = None
        self._is_ours = False

    def acquire(self, *, wait: bool = False) -> bool:
        """Acquire the lock. Without `wait`, return False at once if another process has the lock."""
        if self._is_ours:
            return self.is_held()
        try:
            if self._connection is None:
                target = database.obj
                self._connection = psycopg.connect(target.database, autocommit=True, **target.connect_params)
            if wait:
                self._connection.execute("SET lock_timeout = 0")
                self._connection.execute("SELECT pg_advisory_lock(%s)", (self._key,))
                self._is_ours = True
            else:
                row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (self._key,)).fetchone()
                self._is_ours = bool(row and row[0])
            return self._is_ours
        except psycopg.Error as error:
            self.release()
            raise peewee.OperationalError(str(error)) from error

    def is_held(self) -> bool:
        """Return whether the session that has the lock still exists. The lock ends with its session."""
        if self._connection is None or not self._is_ours:
            return False
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Release the lock, and close its connection."""
        if self._connection is not None:
            # The explicit unlock comes first, because the server notices the end of a session only a bit
            # later.
            if self._is_ours:
                with suppress(psycopg.Error):
                    self._connection.execute("SELECT pg_advisory_unlock(%s)", (self._key,))
            self._connection.close()
            self._connection = None
            self._is_ours = False


def database_lock(name: str) -> FileLock | AdvisoryLock:
    """Return the lock `name` ("daemon" or "migrate") of the open database."""
    is_sqlite = isinstance(database.obj, peewee.SqliteDatabase)
    return FileLock(name) if is_sqlite else AdvisoryLock(name)
