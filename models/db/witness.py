"""A mark outside of the tables, by which the daemon recognises an older copy of the database.

An older copy lacks the addresses that were assigned since. For SQLite the mark is a file beside the database.
It has the number of the last change of the pools, and the database has that number and the file's ctime. An
older database has a lower number. If the whole directory is an older copy, the file has another ctime, since
no program can set a ctime (inode(7)). On a new machine there is no such file.

PostgreSQL has no file. There the mark is the identity of the table, because a restored dump has a new table.
A server that was restored or promoted also has another timeline.
"""

import os
from pathlib import Path

from models.db.connection import database, is_sqlite
from models.db.files import open_private

_DIGITS = 20


def is_original(mark: str | None) -> bool:
    """Return whether this database, with the mark that it has stored, is no older copy."""
    if not is_sqlite():
        return mark in (None, _identity())
    number, ctime = _read(mark)
    found_number, found_ctime = _found()
    if found_number == number:
        return found_ctime == ctime
    # The daemon was killed after it wrote the file, and before it committed.
    return found_number == number + 1


def renewed_mark(mark: str | None) -> str:
    """Return the mark to store with a change of the pools. Write SQLite's file first.

    Raise OSError where the file cannot be written.
    """
    if not is_sqlite():
        return _identity()
    number, (found, _) = _read(mark)[0] + 1, _found()
    # A commit that failed has written this number already. A higher one is from before a restore.
    number = number if found <= number else found + 1
    descriptor = open_private(_path())
    try:
        os.pwrite(descriptor, f"{number:0{_DIGITS}}".encode(), 0)
        # After a power cut the file must not be older than the database.
        os.fsync(descriptor)
        return f"{number}:{int(os.fstat(descriptor).st_ctime)}"
    finally:
        os.close(descriptor)


def _path() -> Path:
    return Path(f"{Path(database.obj.database).resolve()}.witness")


def _read(mark: str | None) -> tuple[int, int]:
    number, _, ctime = (mark or "0:0").partition(":")
    return int(number), int(ctime)


def _found() -> tuple[int, int]:
    """Return the number in the file and its ctime in seconds, or zeros where there is no file."""
    try:
        with _path().open("rb") as file:
            text = file.read(_DIGITS)
            ctime = int(os.fstat(file.fileno()).st_ctime)
    except FileNotFoundError:
        return 0, 0
    return (int(text), ctime) if text.isdigit() else (0, ctime)


def _identity() -> str:
    """Return what identifies the tables of this PostgreSQL database.

    A server may keep its own identity and its timeline from ordinary roles.
    """
    query = """SELECT concat_ws(':', d.oid, 'address'::regclass::oid)
        FROM pg_database d WHERE datname = current_database()"""
    found = str(database.execute_sql(query).fetchone()[0])
    functions = "pg_control_system()", "pg_control_checkpoint()"
    query = "SELECT has_function_privilege(%s, 'EXECUTE') AND has_function_privilege(%s, 'EXECUTE')"
    if not database.execute_sql(query, functions).fetchone()[0]:
        return found
    query = """SELECT concat_ws(':', system_identifier, timeline_id)
        FROM pg_control_system(), pg_control_checkpoint()"""
    return f"{found}:{database.execute_sql(query).fetchone()[0]}"
