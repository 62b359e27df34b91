"""Databases that have all tables from the start, because the migrations take longer than many a test."""

import os
import tempfile
from functools import cache
from pathlib import Path

import peewee

from models.db.connection import database, disconnect
from models.db.files import open_private
from models.db.schema import open_database


def open_prepared(url: str) -> peewee.Database:
    """Open a database as `open_database` does. A missing SQLite file becomes a copy of a migrated one."""
    if url.startswith("sqlite:"):
        path = Path(url.removeprefix("sqlite:///"))
        if not path.exists():
            os.close(open_private(path))
            path.write_bytes(_migrated())
    return open_database(url)


@cache
def _migrated() -> bytes:
    """Return the file of a SQLite database with all tables and no rows. The open database stays open."""
    before = database.obj
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "nodetill.db"
        open_database(f"sqlite:///{path}")
        disconnect()
        found = path.read_bytes()
    database.initialize(before)
    return found
